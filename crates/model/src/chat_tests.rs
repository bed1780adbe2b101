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

#[test]
fn a_template_that_would_fill_memory_is_refused() {
    let doubled =
        "{% set ns = namespace(a='x') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}";
    let shared = "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}";
    for (source, cause) in [
        (doubled.to_owned(), "does not end within"),
        (format!("{shared}{{{{ ns.a | tojson }}}}"), "`tojson` makes more than 1048576 bytes"),
        ("{{ messages | tojson(indent=1000000000000) }}".to_owned(), "`tojson` is to indent by more than 16 spaces"),
        ("{{ 'x'.ljust(1000000000000) }}{{ 'x' * 1000000000000 }}".to_owned(), "chat_template.jinja"),
    ] {
        let error = rendered("bomb", &source, &conversation(), &json!({})).unwrap_err();
        assert!(error.contains("chat_template.jinja") && error.contains(cause), "{error}");
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
