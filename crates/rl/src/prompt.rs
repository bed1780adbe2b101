//! Problem in, prompt out: instruction, chat template, tokens, and room for an answer.

use model::{ChatTemplate, Message, Role, Tokenizer};
use verify::Gold;

use crate::{
    Problem, RlError,
    config::{PromptSettings, Template},
};

/// Tokens that the policy continues, with the problem that they state.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The problem.
    pub problem: Problem,
    /// Its gold answer, parsed.
    pub gold: Gold,
    /// Token ids, at least one.
    pub tokens: Vec<u32>,
    /// What a completion of it begins with.
    pub opening: Opening,
}

/// What a completion begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// With whatever the policy writes, thoughts in `<think>` among it.
    Free,
    /// Within thoughts, as the prompts of DeepSeek-R1's templates end with `<think>`: without `</think>` there is no answer.
    Thoughts,
}

impl Opening {
    /// That of a completion which follows the text of `prompt`.
    pub fn after(prompt: &str) -> Self {
        if prompt.trim_end().ends_with("<think>") { Self::Thoughts } else { Self::Free }
    }
}

/// What turns problems into prompts.
pub struct Prompter<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The model's chat template, where it has one.
    pub chat: Option<&'a ChatTemplate>,
    /// `[prompt]`.
    pub settings: &'a PromptSettings,
    /// Longest sequence that the model takes, tokens.
    pub positions_max: usize,
}

/// What the person says: the question, with the instruction on a line of its own.
pub fn content(settings: &PromptSettings, question: &str) -> String {
    if settings.instruction.is_empty() { question.to_owned() } else { format!("{question}\n{}", settings.instruction) }
}

/// The conversation that a chat template is put around.
pub fn messages(settings: &PromptSettings, question: &str) -> Vec<Message> {
    let system = Message { role: Role::System, content: settings.system.clone() };
    let user = Message { role: Role::User, content: content(settings, question) };
    if settings.system.is_empty() { vec![user] } else { vec![system, user] }
}

/// The text that a policy continues, in a model's chat template where the settings want it.
///
/// # Errors
/// When the template cannot be rendered, or is wanted and there is none.
pub fn text(settings: &PromptSettings, chat: Option<&ChatTemplate>, question: &str) -> Result<String, RlError> {
    if settings.template == Template::Plain {
        return Ok(content(settings, question));
    }
    let chat = chat.ok_or(RlError::Setting {
        field: "prompt.template",
        message: "is \"chat\", and the model has no chat template; use \"plain\", or add `chat_template` to its tokenizer_config.json".into(),
    })?;
    Ok(chat.render(&messages(settings, question), &settings.variables)?)
}

impl PromptSettings {
    /// Checks that every setting has an effect.
    ///
    /// # Errors
    /// [`RlError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), RlError> {
        let settings = [("prompt.variables", self.variables.is_empty()), ("prompt.system", self.system.is_empty())];
        match settings.into_iter().find(|(_, is_unset)| self.template == Template::Plain && !is_unset) {
            Some((field, _)) => {
                let message = "is read by a chat template, and `prompt.template` is \"plain\"; leave one of them out";
                Err(RlError::Setting { field, message: message.into() })
            }
            None => Ok(()),
        }
    }
}

impl Prompter<'_> {
    /// The text that the policy continues.
    ///
    /// # Errors
    /// When the template cannot be rendered, or is wanted and the model has none.
    pub fn text(&self, question: &str) -> Result<String, RlError> {
        text(self.settings, self.chat, question)
    }

    /// The prompt of `problem`.
    ///
    /// # Errors
    /// When the gold answer cannot be read, or the prompt is empty or leaves no room for an answer.
    pub fn prompt(&self, problem: &Problem) -> Result<Prompt, RlError> {
        let refuse = |message: String| RlError::Problem { problem: problem.id.to_string(), message };
        let gold = Gold::parse(&problem.gold).map_err(|error| refuse(error.to_string()))?;
        let text = self.text(&problem.question)?;
        let tokens = self.tokens(&text)?;
        let limit = self.settings.prompt_tokens_max.min(self.positions_max.saturating_sub(1));
        if tokens.is_empty() || tokens.len() > limit {
            return Err(refuse(format!(
                "its prompt has {} tokens; allowed are 1 to {limit} (`prompt.prompt_tokens_max` is {}, the model takes {} positions)",
                tokens.len(),
                self.settings.prompt_tokens_max,
                self.positions_max
            )));
        }
        Ok(Prompt { problem: problem.clone(), gold, tokens, opening: Opening::after(&text) })
    }

    /// The tokens of a prompt's text: after those that the tokenizer puts before a text, which a chat template writes itself.
    ///
    /// # Errors
    /// When a word-level vocabulary lacks a word of it.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, RlError> {
        Ok(match self.settings.template {
            Template::Plain => self.tokenizer.encode_from_beginning(text)?,
            Template::Chat => self.tokenizer.encode(text)?,
        })
    }
}
