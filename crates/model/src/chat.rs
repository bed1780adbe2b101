//! A model's chat template: messages to the text that the policy continues.
//!
//! Templates are Jinja programs written for `transformers` in Python; the environment here follows its
//! `apply_chat_template` (`trim_blocks`, `lstrip_blocks`, loop controls, `tojson` without HTML escapes), bounded by
//! fuel: see `bounds`.

mod bounds;

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    io, panic,
    path::{Path, PathBuf},
    thread,
};

use chrono::{NaiveDate, NaiveTime};
use minijinja::{
    Environment, Error, ErrorKind, Value,
    syntax::SyntaxConfig,
    value::{Kwargs, Serde},
};

use crate::{ModelError, files};

const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";
const TEMPLATE_FILE: &str = "chat_template.jinja";
const TEMPLATE_NAME: &str = "chat_template";
/// The variable that holds the day for `strftime_now`.
const DATE: &str = "date";
/// About one unit per executed instruction, per 64 bytes made and per 16 values walked through; long conversations need
/// some ten thousands, one of 780 kB up to and above a hundred thousand.
const FUEL: u64 = 200_000;
/// Largest template, whose constants are worked out when it is read.
const TEMPLATE_BYTES_MAX: usize = 1 << 20;
/// Stack of the thread that renders: lists within lists, of which fuel allows some ten thousands, are dropped one within
/// the other. Pages that are not touched take no memory.
const STACK_BYTES: usize = 512 << 20;
/// Most spaces that `tojson` indents by.
const INDENT_MAX: usize = 16;
/// Longest text that `tojson` makes.
const JSON_BYTES_MAX: usize = 1 << 20;

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that precede the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// The chat template of a model directory, compiled.
#[derive(Debug)]
pub struct ChatTemplate {
    path: PathBuf,
    environment: Environment<'static>,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

impl ChatTemplate {
    /// Reads the template of the model in `directory`: `chat_template.jinja`, or `chat_template` in
    /// `tokenizer_config.json`, where it is a text or a list of named ones whose `default` is taken.
    ///
    /// `None` when the model has no template; callers then give it the raw text.
    ///
    /// # Errors
    /// [`ModelError`] when a file is unreadable or malformed or the template has a syntax error.
    pub fn open(directory: &Path) -> Result<Option<Self>, ModelError> {
        let config_path = directory.join(TOKENIZER_CONFIG_FILE);
        let config = tokenizer_config(&config_path)?;
        let template_path = directory.join(TEMPLATE_FILE);
        let (path, source) = match read_if_present(&template_path)? {
            Some(source) => (template_path, source),
            None => match configured_template(&config, &config_path)? {
                Some(source) => (config_path, source),
                None => return Ok(None),
            },
        };
        let environment = environment(&source)
            .map_err(|error| ModelError::Template { path: path.clone(), message: description(&error) })?;
        let (bos_token, eos_token) = (token_text(&config["bos_token"]), token_text(&config["eos_token"]));
        Ok(Some(Self { path, environment, bos_token, eos_token }))
    }

    /// Renders `messages` and the opening of the assistant's turn (`add_generation_prompt` is true).
    ///
    /// The template sees `messages`, `add_generation_prompt`, `bos_token`, `eos_token` and the values of `extra`
    /// (such as `enable_thinking`), which win over the others. There is no clock: `strftime_now` tells the day that `extra`
    /// names `date`, as "2026-11-30", and is not defined without, so that a template falls back to its own fixed date.
    ///
    /// # Errors
    /// [`ModelError::Template`] when the template raises an exception, fails or does not end.
    pub fn render(
        &self,
        messages: &[Message],
        extra: &BTreeMap<String, serde_json::Value>,
    ) -> Result<String, ModelError> {
        let failed = |error: Error| ModelError::Template { path: self.path.clone(), message: description(&error) };
        // `transformers` always defines these four.
        let mut variables = BTreeMap::from([
            ("messages", Value::from(Serde(messages))),
            ("add_generation_prompt", Value::from(true)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ]);
        for (name, token) in [("bos_token", &self.bos_token), ("eos_token", &self.eos_token)] {
            if let Some(token) = token {
                variables.insert(name, Value::from(token.as_str()));
            }
        }
        for (name, value) in extra {
            variables.insert(name, Value::from(Serde(value)));
        }
        if let Some(date) = extra.get(DATE) {
            let message = || format!("the variable `{DATE}` is {date}; write a day as \"2026-11-30\"");
            let date = date.as_str().and_then(|text| text.parse().ok());
            let date: NaiveDate =
                date.ok_or_else(|| ModelError::Template { path: self.path.clone(), message: message() })?;
            variables.insert("strftime_now", Value::from_function(move |format: &str| formatted(date, format)));
        }
        // An error may hold values of the template too, so that it becomes a message before it leaves the thread.
        let render = || bounds::render(&self.environment, TEMPLATE_NAME, Value::from(variables)).map_err(failed);
        on_large_stack(render).map_err(|source| ModelError::Io {
            action: "start a thread to render",
            path: self.path.clone(),
            source,
        })?
    }
}

/// The beginning of a day as C's `strftime` writes it.
fn formatted(date: NaiveDate, format: &str) -> Result<String, Error> {
    let mut text = String::new();
    match write!(text, "{}", date.and_time(NaiveTime::MIN).format(format)) {
        Ok(()) => Ok(text),
        Err(fmt::Error) => Err(Error::new(ErrorKind::InvalidOperation, format!("{format:?} is no format of a date"))),
    }
}

/// What `work` returns, run by a thread of its own with [`STACK_BYTES`].
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

fn read_if_present(path: &Path) -> Result<Option<String>, ModelError> {
    if !path.is_file() {
        return Ok(None);
    }
    files::read_text(path).map(Some)
}

/// The `tokenizer_config.json` at `path`; null where there is none.
fn tokenizer_config(path: &Path) -> Result<serde_json::Value, ModelError> {
    let Some(text) = read_if_present(path)? else { return Ok(serde_json::Value::Null) };
    serde_json::from_str(&text).map_err(|error| ModelError::File {
        path: path.to_owned(),
        message: format!("not JSON: {error}; download it again"),
    })
}

/// The token that ends a text by the `tokenizer_config.json` in `directory`, as it is spelt; none where it names none.
///
/// # Errors
/// [`ModelError`] when the file is unreadable or malformed.
pub(crate) fn end_token(directory: &Path) -> Result<Option<String>, ModelError> {
    Ok(token_text(&tokenizer_config(&directory.join(TOKENIZER_CONFIG_FILE))?["eos_token"]))
}

/// The `chat_template` of a parsed `tokenizer_config.json`.
fn configured_template(config: &serde_json::Value, path: &Path) -> Result<Option<String>, ModelError> {
    let unusable = |message: &str| ModelError::File { path: path.to_owned(), message: message.to_owned() };
    match &config["chat_template"] {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(source) => Ok(Some(source.clone())),
        serde_json::Value::Array(named) => {
            let default = named.iter().find(|template| template["name"] == "default");
            let source = default.and_then(|template| template["template"].as_str());
            source.map(|source| Some(source.to_owned())).ok_or_else(|| {
                unusable("`chat_template` is a list without a template named `default`; name the one to use `default`")
            })
        }
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::Object(_) => {
            Err(unusable("`chat_template` is neither a text nor a list of named templates; download the file again"))
        }
    }
}

/// A token in `tokenizer_config.json` is a text or an object whose `content` is the text.
fn token_text(token: &serde_json::Value) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

fn environment(source: &str) -> Result<Environment<'static>, Error> {
    if source.len() > TEMPLATE_BYTES_MAX {
        let message = format!("has {} bytes, and {TEMPLATE_BYTES_MAX} are read at most", source.len());
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let source = without_generation_marks(source);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    bounds::refuse_constant_lists(&source, syntax.clone())?;
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_fuel(Some(FUEL));
    bounds::prepare(&mut environment);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_filter("tojson", python_json);
    environment.add_template_owned(TEMPLATE_NAME, source)?;
    Ok(environment)
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`.
#[expect(clippy::needless_pass_by_value, reason = "the engine passes keyword arguments by value")]
fn python_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let failed = |error: serde_json::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    if indent.is_some_and(|width| width > INDENT_MAX) {
        let message = format!("`tojson` is to indent by more than {INDENT_MAX} spaces");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let mut text = BoundedText(Vec::new());
    if let Some(width) = indent {
        let spaces = " ".repeat(width);
        let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
        serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut text, formatter))
            .map_err(failed)?;
    } else {
        serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut text, SpacedFormatter))
            .map_err(failed)?;
    }
    String::from_utf8(text.0).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// Text of JSON, no more than [`JSON_BYTES_MAX`]: lists that hold one another twice and twice again are short to write
/// down and endless to write out.
struct BoundedText(Vec<u8>);

impl std::io::Write for BoundedText {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > JSON_BYTES_MAX {
            return Err(std::io::Error::other(format!("`tojson` makes more than {JSON_BYTES_MAX} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One line with Python's separators `", "` and `": "`.
struct SpacedFormatter;

impl serde_json::ser::Formatter for SpacedFormatter {
    fn begin_array_value<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// `transformers` marks what the assistant says with `{% generation %}` … `{% endgeneration %}`, tags that Jinja lacks
/// and that change no text; they become `{% if true %}` … `{% endif %}`.
fn without_generation_marks(source: &str) -> String {
    let mut plain = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%") {
        plain.extend([before, "{%"]);
        rest = after;
        let tag = after.trim_start_matches(['-', '+']).trim_start();
        for (mark, replacement) in [("generation", "if true"), ("endgeneration", "endif")] {
            let Some(end) = tag.strip_prefix(mark) else { continue };
            if end.trim_start().trim_start_matches(['-', '+']).starts_with("%}") {
                plain.extend([&after[..after.len() - tag.len()], replacement]);
                rest = end;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// The engine's message with the template's line, and a remedy where one is known.
fn description(error: &Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return format!("does not end within {FUEL} instructions; shorten the messages or correct the template");
    }
    if error.to_string().contains("strftime_now") {
        return "asks for the current date, which a prompt must not depend on; name a day that it is told: the variable `date` of \
                [prompt.variables], or `--variable date=2026-11-30`"
            .to_owned();
    }
    error.to_string()
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
