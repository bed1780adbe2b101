// Filters completions by outcome and length. The page says everything without it.
const form = document.querySelector("form.filter");
const problems = [...document.querySelectorAll(".folded")].map((line) => ({
  line,
  completions: [...line.querySelectorAll(".completion")],
}));
const show = () => {
  const outcomes = new Set(new FormData(form).getAll("outcome"));
  const [low, high] = [form.elements.low, form.elements.high].map((input) => input.valueAsNumber);
  const counts = { problems: 0, completions: 0, all: 0 };
  for (const { line, completions } of problems) {
    for (const completion of completions) {
      const tokens = Number(completion.dataset.tokens);
      // An empty bound bounds nothing: no comparison with NaN is true.
      completion.hidden = !outcomes.has(completion.dataset.outcome) || tokens < low || tokens > high;
    }
    const shown = completions.filter((completion) => !completion.hidden).length;
    line.hidden = shown === 0;
    counts.problems += shown > 0;
    counts.completions += shown;
    counts.all += completions.length;
  }
  form.querySelector("output").textContent =
    `${counts.completions} of ${counts.all} completions, ${counts.problems} of ${problems.length} problems`;
};
form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
// The fields have their first values only after the event.
form.addEventListener("reset", () => setTimeout(show));
form.elements.open.addEventListener("click", () => {
  const shown = problems.filter(({ line }) => !line.hidden);
  const open = !shown.every(({ line }) => line.open);
  for (const { line } of shown) line.open = open;
});
form.hidden = false;
show();
