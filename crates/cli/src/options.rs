//! Values of options that several commands read: their ranges and their spelling.

use clap::ValueEnum;
use rl::config::{ComputeType, Template, is_temperature};
use serde_json::Value;
use verify::Extraction;

/// Whether the chat template is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TemplateOption {
    /// The model's chat template, with the question as the user's message.
    Chat,
    /// The question as it stands.
    Plain,
}

impl From<TemplateOption> for Template {
    fn from(option: TemplateOption) -> Self {
        match option {
            TemplateOption::Chat => Self::Chat,
            TemplateOption::Plain => Self::Plain,
        }
    }
}

/// What matrix products compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComputeOption {
    /// f32 factors.
    F32,
    /// Factors rounded to bf16, f32 sums.
    Bf16,
}

impl From<ComputeOption> for ComputeType {
    fn from(option: ComputeOption) -> Self {
        match option {
            ComputeOption::F32 => Self::F32,
            ComputeOption::Bf16 => Self::Bf16,
        }
    }
}

/// A temperature: 0 is greedy.
pub(crate) fn temperature(text: &str) -> Result<f64, String> {
    let allowed = |value: &f64| is_temperature(*value);
    text.parse().ok().filter(allowed).ok_or("give 0 for greedy decoding, or a number from 0.001 to 100".to_owned())
}

/// A share above 0 and up to 1.
pub(crate) fn nucleus_mass(text: &str) -> Result<f64, String> {
    let allowed = |value: &f64| *value > 0.0 && *value <= 1.0;
    text.parse().ok().filter(allowed).ok_or("give a number above 0 and up to 1; 1 keeps every token".to_owned())
}

/// A name and its value, which is JSON or else a text, from NAME=VALUE; `None` where there is no name.
pub(crate) fn named_value(text: &str) -> Option<(String, Value)> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Some((name.to_owned(), value))
}

/// A variable of the chat template.
pub(crate) fn variable(text: &str) -> Result<(String, Value), String> {
    named_value(text).ok_or_else(|| "write NAME=VALUE".to_owned())
}

/// A count of at least 1.
pub(crate) fn positive(text: &str) -> Result<usize, String> {
    let allowed = |value: &usize| (1..=1 << 24).contains(value);
    text.parse().ok().filter(allowed).ok_or("give a whole number from 1 to 16777216".to_owned())
}

/// `auto` or `marker:WORD`.
pub(crate) fn extraction(text: &str) -> Result<Extraction, String> {
    match text.split_once(':') {
        None if text == "auto" => Ok(Extraction::Auto {}),
        Some(("marker", word)) if !word.is_empty() => {
            let extraction = Extraction::Marker { marker: word.to_owned() };
            extraction.check().map(|()| extraction)
        }
        _ => Err("give `auto`, or `marker:WORD` with the word that the answer follows".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        for text in ["-1", "1e-9", "nan", "inf", "warm", ""] {
            assert!(temperature(text).is_err(), "{text}");
        }
        for text in ["0", "-0.1", "1.1", "nan"] {
            assert!(nucleus_mass(text).is_err(), "{text}");
        }
        for text in ["0", "-1", "1.5", "99999999999999999999"] {
            assert!(positive(text).is_err(), "{text}");
        }
        for text in ["", "marker", "marker:", "marker: ", "marker:A ", "boxed:x"] {
            assert!(extraction(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_in_range_are_read() {
        assert_eq!([temperature("0"), temperature("0.6")], [Ok(0.0), Ok(0.6)]);
        assert_eq!(nucleus_mass("0.95"), Ok(0.95));
        assert_eq!(positive("64"), Ok(64));
        assert_eq!(extraction("auto"), Ok(Extraction::Auto {}));
        assert_eq!(extraction("marker:A"), Ok(Extraction::Marker { marker: "A".into() }));
    }
}
