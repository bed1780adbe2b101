//! Tests of chat templates; expected texts were rendered by `transformers` 5.23.0 (`render_jinja_template`).

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};

use super::{ChatTemplate, Message, Role};

const SMOLLM2_CONFIG: &str = include_str!("../tests/data/chat/smollm2_tokenizer_config.json");
/// Written for this test with the constructs of Qwen3's published template.
const THINK_TEMPLATE: &str = include_str!("../tests/data/chat/think.jinja");

#[expect(clippy::disallowed_methods, reason = "a test writes the files it reads")]
fn directory_with(test: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("brevity-chat-{}-{test}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
    directory
}

fn opened(test: &str, files: &[(&str, &str)]) -> Result<Option<ChatTemplate>, String> {
    let directory = directory_with(test, files);
    let template = ChatTemplate::open(&directory).map_err(|error| error.to_string());
    fs::remove_dir_all(directory).unwrap();
    template
}

/// What the template `source` makes of `messages`, or the error's text.
fn rendered(test: &str, source: &str, messages: &[Message], extra: &Value) -> Result<String, String> {
    let config = json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}}).to_string();
    let template = opened(test, &[("tokenizer_config.json", &config), ("chat_template.jinja", source)])?.unwrap();
    let extra: BTreeMap<String, Value> = serde_json::from_value(extra.clone()).unwrap();
    template.render(messages, &extra).map_err(|error| error.to_string())
}

fn conversation() -> Vec<Message> {
    [
        (Role::System, "Be <brief> & exact."),
        (Role::User, "1+1?"),
        (Role::Assistant, "<think>\nsum\n</think>\n\n2"),
        (Role::User, "<result>3</result>"),
        (Role::Assistant, "<think>\nagain\n</think>\n\nthree"),
    ]
    .map(|(role, content)| Message { role, content: content.to_owned() })
    .to_vec()
}

#[test]
fn smollm2_gets_its_default_system_message() {
    let template = opened("smollm2", &[("tokenizer_config.json", SMOLLM2_CONFIG)]).unwrap().unwrap();
    let expected = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face\
                    <|im_end|>\n\
                    <|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(template.render(&conversation()[1..2], &BTreeMap::new()).unwrap(), expected);
}

#[test]
fn the_constructs_of_reasoning_templates_render_as_in_python() {
    let expected = "<s>system[0]: Be <brief> & exact.</s>\n<s>user[1]: 1+1?</s>\n<s>assistant[2]: \nsum|2</s>\n\
                    <s>user[3]: <result>3</result></s>\n<s>assistant[4]: \nagain|three</s>\nassistant:";
    assert_eq!(rendered("think", THINK_TEMPLATE, &conversation(), &json!({})).unwrap(), expected);
    let without_thinking = rendered("off", THINK_TEMPLATE, &conversation()[1..2], &json!({"enable_thinking": false}));
    assert_eq!(without_thinking.unwrap(), "<s>user[0]: 1+1?</s>\nassistant: <think></think>");
}

#[test]
fn json_is_spelt_as_python_spells_it() {
    let source = "{{ tools | tojson }}\n{{ tools | tojson(indent=2) }}";
    let extra = json!({"tools": [{"n": [1, 2.5, null, true], "name": "f<x>", "é": "it's"}]});
    let spaced = r#"[{"n": [1, 2.5, null, true], "name": "f<x>", "é": "it's"}]"#;
    let indented = r#"[
  {
    "n": [
      1,
      2.5,
      null,
      true
    ],
    "name": "f<x>",
    "é": "it's"
  }
]"#;
    let expected = format!("{spaced}\n{indented}");
    assert_eq!(rendered("json", source, &[], &extra).unwrap(), expected);
}

#[test]
fn a_failing_template_names_its_file_and_cause() {
    let cases = [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "does not end within"),
        ("{{ strftime_now('%d') }}", "asks for the current date"),
        ("{% if %}", "syntax error"),
    ];
    for (source, cause) in cases {
        let error = rendered("failing", source, &conversation(), &json!({})).unwrap_err();
        assert!(error.contains("chat_template.jinja") && error.contains(cause), "{error}");
    }
}

/// A list of 2^60 numbers that is made in 60 steps, as `ns.a`; `ns.b` is another one.
const SHARED: &str = "{% set ns = namespace(a=[1], b=[1]) %}\
                      {% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}";
const TOO_HEAVY: &str = "a value is not to be walked through, with all it holds above 65536 values";
const NO_END: &str = "does not end within";
const FOREIGN_KEY: &str = "a text for `format` has a key beyond ASCII; take the value before it";

/// Fails where `rest`, after lists that hold one another, is not refused for `cause`.
fn assert_refused(rest: &str, cause: &str) {
    let error = rendered("bomb", &format!("{SHARED}{rest}"), &conversation(), &json!({})).unwrap_err();
    assert!(error.contains("chat_template.jinja") && error.contains(cause), "{rest}: {error}");
}

#[test]
fn lists_that_hold_one_another_twice_are_walked_through_in_no_way() {
    for rest in [
        "{{ ns.a }}",
        "{{ ns }}",
        "{% set text %}{{ ns.a }}{% endset %}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(ns.a) }}",
        "{% filter upper %}{{ ns.a }}{% endfilter %}",
        "{% call(x) namespace(ns.a) %}{% endcall %}",
        "{% autoescape true %}{{ ns.a }}{% endautoescape %}",
        "{% autoescape ns.a %}{% endautoescape %}",
        "{% include ns.a %}",
        "{% if ns.a ~ '' %}{% endif %}",
        "{% if '' ~ ns.a %}{% endif %}",
        "{% if ns.a == ns.b %}{% endif %}",
        "{% if ns.a != ns.b %}{% endif %}",
        "{% if ns.a < ns.b %}{% endif %}",
        "{% if 1 < 2 < ns.a < ns.b %}{% endif %}",
        "{% if ns.a == ([] if false else ns.b) %}{% endif %}",
        "{% if ns.a in 'text' %}{% endif %}",
        "{% if ns.a in [0, ns.b] %}{% endif %}",
        "{% if ns.a not in [ns.b] %}{% endif %}",
        "{{ {ns.a: 1} }}",
        "{{ {1: 2}[ns.a] }}",
        "{{ 'text'[ns.a] }}",
        "{% if ns.a is eq(ns.b) %}{% endif %}",
        "{% if ns.a is startingwith('x') %}{% endif %}",
        "{% if 'x' is startingwith(ns.a) %}{% endif %}",
        "{% if ns.a is in([ns.b]) %}{% endif %}",
        "{% set x = ns.a | string %}",
        "{% set x = ns.a | join %}",
        "{% set x = ['', ''] | join(ns.a) %}",
        "{% set x = ns.a | tojson %}",
        "{% set x = ns.a | pprint %}",
        "{% set x = ns.a | upper %}",
        "{% set x = '%s' | format(ns.a) %}",
        "{% set x = 'x' | replace('x', ns.a) %}",
        "{% set x = [ns.a, ns.b] | sort %}",
        "{% set x = [ns.a, ns.b] | unique %}",
        "{% set x = [ns.a, ns.b] | min %}",
        "{% set x = [{'k': ns.a}, {'k': ns.b}] | groupby('k') %}",
        "{% set x = [ns.a] | map('string') | list %}",
        "{% set x = ''.join([ns.a]) %}",
        "{% set x = '{}'.format(ns.a) %}",
        "{% set x = [ns.a].count(ns.b) %}",
        "{{ raise_exception(ns.a) }}",
        "{{ raise_exception(*[ns.a]) }}",
        "{{ dict(x=ns.a).x }}",
    ] {
        assert_refused(rest, TOO_HEAVY);
    }
    // What holds itself has no end at all.
    assert_refused("{% set ns.a = ns %}{{ ns }}", "lists and maps lie more than 128 deep in one another");
}

#[test]
fn what_is_put_together_again_and_again_is_walked_through_once() {
    // Neither list has an item to be weighed, and the map keeps its one key.
    for (start, step, shown, expected) in [
        ("[]", "ns.a + ns.a", "ns.a", "[]"),
        ("[]", "ns.a | chain(ns.a)", "ns.a", "[]"),
        ("[]", "ns.a | chain(ns.a, range(0))", "ns.a", "[]"),
        ("{}", "ns.a | chain(ns.a)", "ns.a", "{}"),
        ("{'k': 1}", "ns.a | chain(ns.a)", "ns.a ~ (ns.a.x is defined)", "{'k': 1}False"),
        ("[1]", "ns.a + [i]", "ns.a | length", "61"),
    ] {
        let source = format!(
            "{{% set ns = namespace(a={start}) %}}{{% for i in range(60) %}}{{% set ns.a = {step} %}}{{% endfor %}}\
             {{{{ {shown} }}}}"
        );
        assert_eq!(rendered("again", &source, &[], &json!({})).as_deref(), Ok(expected), "{source}");
    }
    let source =
        "{{ [1, 2] | chain([3], (4,)) }}{{ {'b': 1, 'a': 2} | chain({'b': 3}) }}{{ 'ab' | chain([1]) | list }}";
    let expected = "[1, 2, 3, 4]{'a': 2, 'b': 3}['a', 'b', 1]";
    assert_eq!(rendered("chains", source, &[], &json!({})).as_deref(), Ok(expected));
}

#[test]
fn a_template_names_no_function_of_the_engine() {
    assert_refused("{{ flatten() }}", "flatten is unknown");
}

#[test]
fn a_template_that_would_fill_memory_is_refused() {
    for (rest, cause) in [
        ("{% set ns.a = 'x' %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}", TOO_HEAVY),
        ("{% set ns.a = [1] %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}", TOO_HEAVY),
        ("{% set ns.a = [1] %}{% for i in range(60) %}{% set ns.a = ns.a * 9 %}{% endfor %}", NO_END),
        ("{% set ns.a = [1] %}{% set ns.a = ns.a * 100000000 %}", NO_END),
        ("{% set ns.a = (1,) %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}", TOO_HEAVY),
        ("{{ messages | tojson(indent=1000000000000) }}", "`tojson` is to indent by more than 16 spaces"),
        ("{{ 'x'.ljust(1000000000000) }}{{ 'x' * 1000000000000 }}", ""),
        ("{{ 'x' * 6000000 }}", TOO_HEAVY),
        ("{% for i in range(9) %}{{ 'x' * 3000000 }}{% endfor %}", NO_END),
        ("{{ ('x' * 4000).replace('', 'y' * 4000) }}", "`replace` is to make a text of more than 4194304 bytes"),
        ("{{ ('x' * 4000) | replace('', 'y' * 4000) }}", NO_END),
        ("{{ ('x' * 4000).join(range(4000)) }}", "`join` is to make a text of more than 4194304 bytes"),
        ("{{ range(4000) | join('x' * 4000) }}", NO_END),
        ("{{ '{:>9999999999999}'.format(1) }}", "a text for `format` has a number of more than 4 digits"),
        ("{{ '{:.9999999999999}'.format(1.5) }}", "a text for `format` has a number of more than 4 digits"),
        ("{{ ('{0}' * 4000).format('x' * 4000) }}", "`format` is to make a text of more than 4194304 bytes"),
        ("{{ '%9999999999999d' | format(1) }}", NO_END),
        ("{{ 'ü {{{0.a[x][ключ]}'.format(1) }}", FOREIGN_KEY),
        ("{{ '{a[ю'.format(1) }}", FOREIGN_KEY),
        ("{{ '%% %(ключ)s' | format(a=1) }}", FOREIGN_KEY),
        ("{{ [1] | batch(1000000000, 'x') }}", NO_END),
        ("{{ [1] | slice(1000000000, 'x') }}", NO_END),
        ("{{ ('x\n' * 4000) | indent(4000) }}", NO_END),
        // Constants, which are worked out when the template is read.
        ("{{ [[1] * 100000000] * 100000000 ~ '' }}", "`*` repeats a list that is written down; write it out"),
        ("{{ ([1] + [2]) * 9 }}", "`*` repeats a list that is written down; write it out"),
        ("{% if 9 * (1, 2) == (1, 2) * 9 %}{% endif %}", "`*` repeats a list that is written down; write it out"),
    ] {
        assert_refused(rest, cause);
    }
    let error = rendered("long", &"x".repeat((1 << 20) + 1), &[], &json!({})).unwrap_err();
    assert!(error.contains("has 1048577 bytes, and 1048576 are read at most"), "{error}");
}

#[test]
fn a_long_text_is_not_gone_through_over_and_over() {
    // A million characters, and 20,000 times the last of them: engines that count instructions alone take minutes.
    for rest in [
        "{% if ns.t[999999] %}{% endif %}",
        "{% if ns.t[999999:] %}{% endif %}",
        "{% for c in ns.t %}{% break %}{% endfor %}",
        "{% if 'y' in ns.t %}{% endif %}",
        "{% if ns.t | length %}{% endif %}",
        "{% if ns.t is lower %}{% endif %}",
        "{% if ns.t == ns.u %}{% endif %}",
        "{% if ns.t.isalpha() %}{% endif %}",
    ] {
        let source = format!(
            "{{% set ns = namespace(t='é' * 1000000, u='é' * 1000000) %}}{{% for i in range(20000) %}}{rest}{{% endfor %}}"
        );
        let error = rendered("text", &source, &[], &json!({})).unwrap_err();
        assert!(error.contains(NO_END), "{rest}: {error}");
    }
}

#[test]
fn what_is_made_of_what_was_made_before_is_worked_out_once() {
    // Slices of slices of slices, 20,000 deep, would each be walked through for every item.
    for step in ["ns.a[0:]", "ns.a | reverse", "ns.a | chain([])", "ns.a * 1", "ns.a + []", "ns.a[::-1]"] {
        let source = format!(
            "{{% set ns = namespace(a=[1, 2, 3]) %}}{{% for i in range(8000) %}}{{% set ns.a = {step} %}}{{% endfor %}}\
             {{{{ ns.a | length }}}}"
        );
        match rendered("anew", &source, &[], &json!({})) {
            Ok(text) => assert_eq!(text, "3", "{step}"),
            Err(error) => assert!(error.contains(NO_END), "{step}: {error}"),
        }
    }
}

#[test]
fn what_templates_do_with_lists_is_what_it_is_in_python() {
    for (source, expected) in [
        ("{{ messages[1:] | length }} {{ (messages + messages) | length }}", "4 10"),
        ("{{ ([1, 2] + [3])[::-1] }} {{ [1, 2, 3][1:] == [2, 3] }} {{ [1] in [[1]] }}", "[3, 2, 1] True True"),
        (
            "{% set ns = namespace(l=[]) %}{% for m in messages %}{% set ns.l = ns.l + [m.role] %}{% endfor %}{{ ns.l }}",
            "['system', 'user', 'assistant', 'user', 'assistant']",
        ),
        ("{% macro m(a, b=2, c=3) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1, c=[4]) }}{{ m(*[5, 6]) }}", "12[4]563"),
        ("{% macro m(x) %}[{{ caller(x) }}]{% endmacro %}{% call(y) m(7) %}{{ y }}!{% endcall %}", "[7!]"),
        ("{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "123"),
        ("{% block b %}{{ messages[-1].role ~ 1 ~ [1] }}{% endblock %}", "assistant1[1]"),
        (
            "{{ {'a': 1, 'b': [2]}.items() | list }}{% for k, v in {'x': 1} | items %}{{ k }}{{ v }}{% endfor %}",
            "[('a', 1), ('b', [2])]x1",
        ),
        ("{{ 1 < 2 < 3 }} {{ 'a' if messages is defined and missing is not defined else 'b' }}", "True a"),
        (
            "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('|') }}",
            "1+1?|<result>3</result>",
        ),
        (
            "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ loop.index0 }}{% break %}{% endfor %}",
            "1",
        ),
        ("{{ 'a-b'.split('-')[-1].upper() * 2 }}", "BB"),
        ("{{ '[ю] {{[ю]}} {0[a]:ю>2}'.format({'a': 1}) }}", "[ю] {[ю]} ю1"),
        ("{{ '%(a)s (ю) %%(ю)' | format(a=1) }}", "1 (ю) %(ю)"),
    ] {
        assert_eq!(rendered("lists", source, &conversation(), &json!({})).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn lists_within_lists_within_lists_end_the_rendering_and_not_the_program() {
    let source = "{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% for j in range(9) %}{% set ns.a = [ns.a] %}\
                  {% endfor %}{% endfor %}done";
    for source in [source.to_owned(), format!("{source}{{{{ ns.a | tojson }}}}"), format!("{source}{{{{ ns.a }}}}")] {
        // Rendered or refused: what must not happen is that the stack overflows, which ends the program.
        let _ = rendered("nested", &source, &conversation(), &json!({}));
    }
}

#[test]
fn marks_of_the_assistants_part_are_passed_over() {
    for (source, expected) in [
        ("a{% generation %}b{% endgeneration %}c", "abc"),
        ("a {%- generation -%} b {%-endgeneration-%} c", "abc"),
        ("{% set generation = 7 %}{{ generation }}", "7"),
        ("{% if generation is defined %}{% else %}no{% endif %}", "no"),
    ] {
        assert_eq!(rendered("marks", source, &[], &json!({})).as_deref(), Ok(expected), "{source}");
    }
    // Each opening looks for its end alone: this took minutes when each looked through all that follows.
    let error = rendered("openings", &"{%".repeat(1 << 18), &[], &json!({})).unwrap_err();
    assert!(error.contains("syntax error"), "{error}");
}

#[test]
fn the_date_guard_of_llama_3_takes_its_fixed_branch() {
    let source = "{% if strftime_now is defined %}{{ strftime_now('%d') }}{% else %}26 Jul 2024{% endif %}";
    assert_eq!(rendered("date", source, &[], &json!({})).unwrap(), "26 Jul 2024");
}

#[test]
fn a_template_is_told_the_day_that_is_named() {
    for (format, date, expected) in [
        // SmolLM3's, and Llama 3's.
        ("%d %B %Y", json!("2026-11-30"), Ok("30 November 2026")),
        ("%d %b %Y", json!("2024-07-06"), Ok("06 Jul 2024")),
        ("%H:%M", json!("2026-11-30"), Ok("00:00")),
        ("%Q", json!("2026-11-30"), Err("\"%Q\" is no format of a date")),
        ("%d", json!("30 November"), Err("the variable `date` is \"30 November\"; write a day as \"2026-11-30\"")),
        ("%d", json!(2026), Err("the variable `date` is 2026; write a day")),
    ] {
        let source = format!("{{{{ strftime_now({format:?}) }}}}");
        match (rendered("day", &source, &[], &json!({"date": date})), expected) {
            (Ok(text), Ok(expected)) => assert_eq!(text, expected),
            (Err(error), Err(said)) => assert!(error.contains(said), "{error}"),
            (found, _) => panic!("{format}: {found:?}"),
        }
    }
}

#[test]
fn the_default_of_several_named_templates_is_taken() {
    let named = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
    let config = json!({"chat_template": named}).to_string();
    let template = opened("named", &[("tokenizer_config.json", &config)]).unwrap().unwrap();
    assert_eq!(template.render(&[], &BTreeMap::new()).unwrap(), "d");
    let config = json!({"chat_template": [{"name": "rag", "template": "r"}]}).to_string();
    let error = opened("unnamed", &[("tokenizer_config.json", &config)]).unwrap_err();
    assert!(error.contains("tokenizer_config.json: `chat_template` is a list without"), "{error}");
}

#[test]
fn a_directory_without_a_template_gives_none() {
    assert!(opened("none", &[]).unwrap().is_none());
    assert!(opened("unset", &[("tokenizer_config.json", "{}")]).unwrap().is_none());
}
