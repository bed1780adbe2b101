//! Bounds of what a template has the engine walk through or make at once.
//!
//! The engine takes fuel for each instruction, and for the bytes that it made once they are there. Lists that hold one
//! another twice, and twice again, are short to make and endless to walk through: to print (`{{ a }}`), to turn into a
//! text (`a ~ ''`, `a | string`), to compare (`a == b`, `a in 'text'`, `[a, b] | sort`). So what an instruction may walk
//! through is weighed by a call before it: it costs fuel by its weight, and is refused when that is too much. This
//! needs the engine's instructions, which it shows under `unstable_machinery` alone; its version is pinned for that.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use minijinja::{
    Environment, Error, ErrorKind, State, Template, Value, filters,
    machinery::{self, Instruction, Instructions},
    syntax::SyntaxConfig,
    value::{DynObject, Object, ObjectRepr, Rest, ValueKind, ValueOrKwargs},
};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Most that an instruction may walk through: a unit is a value, or [`UNIT_BYTES`] bytes of text.
const WEIGHT_MAX: usize = 1 << 16;
const UNIT_BYTES: usize = 64;
/// Units that a unit of fuel pays for.
const UNITS_PER_FUEL: usize = 16;
/// Most lists and maps within one another.
const DEPTH_MAX: usize = 128;
/// Longest text that a method of Python makes.
const TEXT_BYTES_MAX: usize = WEIGHT_MAX * UNIT_BYTES;
/// Most digits of a width or precision in a text for `str.format`.
const WIDTH_DIGITS_MAX: usize = 4;

/// Functions of the engine that no template can name, because of the space.
const WEIGH_TOP: &str = "weigh top";
const WEIGH_ALL: &str = "weigh all";
const WEIGH_INDEX: &str = "weigh index";
const FLATTEN: &str = "flatten iterable";

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Puts into `environment` what the instructions of [`render`] call.
pub(super) fn prepare(environment: &mut Environment<'_>) {
    let calls = [
        (WEIGH_TOP, Call::WeighTop),
        (WEIGH_ALL, Call::WeighAll),
        (WEIGH_INDEX, Call::WeighIndex),
        (FLATTEN, Call::Flatten),
    ];
    for (name, call) in calls {
        environment.add_global(name, Value::from_object(call));
    }
    environment.set_unknown_method_callback(python_method);
    environment.add_filter("format", printf);
    environment.add_filter("chain", chain);
}

/// Refuses a template that repeats a list it writes down: the compiler works out what is constant, without fuel, so that
/// `[1] * 100000000 ~ ''` would be written out when it is read.
pub(super) fn refuse_constant_lists(source: &str, syntax: SyntaxConfig) -> Result<(), Error> {
    let tree = machinery::parse(source, "chat_template", syntax)?;
    let tree = serde_json::to_value(tree).map_err(|error| refused(error.to_string()))?;
    if repeats_a_list(&tree) { Err(refused("`*` repeats a list that is written down; write it out")) } else { Ok(()) }
}

fn repeats_a_list(node: &serde_json::Value) -> bool {
    fn operands(node: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
        ["left", "right"].into_iter().map(|side| &node["inner"][0][side])
    }
    fn is_list(node: &serde_json::Value) -> bool {
        let kind = node["expr"].as_str().unwrap_or_default();
        ["List", "Tuple"].contains(&kind) || kind == "BinOp" && operands(node).any(is_list)
    }
    let is_product = node["expr"] == "BinOp" && node["inner"][0]["op"] == "Mul";
    if is_product && operands(node).any(is_list) {
        return true;
    }
    match node {
        serde_json::Value::Array(nodes) => nodes.iter().any(repeats_a_list),
        serde_json::Value::Object(fields) => fields.values().any(repeats_a_list),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => false,
    }
}

/// What `template` makes of the variables in `root`.
pub(super) fn render(environment: &Environment<'_>, name: &str, root: Value) -> Result<String, Error> {
    let template: Template<'_, '_> = environment.get_template(name)?;
    let compiled = machinery::get_compiled_template(&template);
    let instructions = weighed(&compiled.instructions)?;
    let blocks = compiled.blocks.iter().map(|(&name, block)| weighed(block).map(|block| (name, block)));
    let blocks = blocks.collect::<Result<BTreeMap<_, _>, _>>()?;
    let mut text = String::new();
    let escape = compiled.initial_auto_escape.clone();
    machinery::eval(environment, &instructions, root, &blocks, &mut machinery::make_string_output(&mut text), escape)?;
    Ok(text)
}

/// `instructions` with a call before each that walks through its operands, and one after each that makes a list which is
/// worked out anew, through all the lists it was made of, whenever it is walked through.
fn weighed<'a>(instructions: &Instructions<'a>) -> Result<Instructions<'a>, Error> {
    let listed: Vec<Instruction<'a>> = (0..).map_while(|index| instructions.get(index).cloned()).collect();
    let targets: BTreeSet<u32> = listed.iter().cloned().filter_map(|mut one| target(&mut one).copied()).collect();
    let mut places = Vec::with_capacity(listed.len() + 1);
    let mut made: Vec<(Instruction<'a>, u32)> = Vec::new();
    for (index, instruction) in (0_u32..).zip(&listed) {
        places.push(made.len() as u32);
        let before = index.checked_sub(1).filter(|_| !targets.contains(&index)).map(|before| &listed[before as usize]);
        let mut add = |instruction| made.push((instruction, index));
        let weighing = weighed_by(instruction, before)?;
        let is_lazy = matches!(
            instruction,
            Instruction::Slice | Instruction::Mul | Instruction::ApplyFilter(..) | Instruction::CallMethod(..)
        ) || matches!(instruction, Instruction::Add) && weighing.is_some();
        match weighing {
            None => add(instruction.clone()),
            Some((WEIGH_TOP, count)) => {
                add(Instruction::CallFunction(WEIGH_TOP, count));
                add(instruction.clone());
            }
            Some((call, count)) => {
                add(Instruction::CallFunction(call, count));
                // They come back as a list, and are put where they were, with their number on top of them.
                add(Instruction::UnpackLists(1));
                if let Some(counted) = counted_on_top(instruction) {
                    add(counted);
                } else {
                    add(Instruction::DiscardTop);
                    add(instruction.clone());
                }
            }
        }
        if is_lazy {
            add(Instruction::CallFunction(FLATTEN, Some(1)));
        }
    }
    places.push(made.len() as u32);
    let mut weighed = Instructions::new(instructions.name(), instructions.source());
    for (mut instruction, index) in made {
        if let Some(place) = target(&mut instruction) {
            *place = places[*place as usize];
        }
        match (instructions.get_span(index), instructions.get_line(index)) {
            (Some(span), _) => weighed.add_with_span(instruction, span),
            (None, Some(line)) => weighed.add_with_line(instruction, line as u16),
            (None, None) => weighed.add(instruction),
        };
    }
    Ok(weighed)
}

/// Where an instruction jumps to.
fn target<'a>(instruction: &'a mut Instruction<'_>) -> Option<&'a mut u32> {
    if let Instruction::Iterate(place)
    | Instruction::Jump(place)
    | Instruction::JumpIfFalse(place)
    | Instruction::JumpIfFalseOrPop(place)
    | Instruction::JumpIfTrueOrPop(place)
    | Instruction::BuildMacro(_, place, _) = instruction
    {
        return Some(place);
    }
    None
}

/// What weighs the values that `instruction` may walk through where `before` alone comes before it, and how many of those
/// on top of the stack they are; no number stands for as many as the top says.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other instructions walk through nothing")]
fn weighed_by(
    instruction: &Instruction<'_>,
    before: Option<&Instruction<'_>>,
) -> Result<Option<(&'static str, Option<u16>)>, Error> {
    use Instruction as I;
    let constant = if let Some(I::LoadConst(value)) = before { Some(value) } else { None };
    let is_compared = matches!(instruction, I::Add | I::Eq | I::Ne | I::Lt | I::Lte | I::Gt | I::Gte);
    // To compare with a number or a text nothing is walked through, nor to find what a text names.
    if is_compared && constant.is_some_and(|value| value.as_object().is_none())
        || matches!(instruction, I::GetItem) && constant.is_some_and(|value| value.as_str().is_some())
    {
        return Ok(None);
    }
    Ok(match instruction {
        I::Emit | I::Include(_) | I::LoadBlocks | I::PushAutoEscape => Some((WEIGH_TOP, Some(1))),
        I::StringConcat | I::In | I::CompareAndPreserve(_) => Some((WEIGH_ALL, Some(2))),
        _ if is_compared => Some((WEIGH_ALL, Some(2))),
        I::PushLoop(_) => Some((WEIGH_INDEX, Some(1))),
        I::GetItem => Some((WEIGH_INDEX, Some(2))),
        I::Slice => Some((WEIGH_INDEX, Some(4))),
        I::BuildMap(pairs) => {
            let values = u16::try_from(2 * pairs);
            let values = values.map_err(|_| refused(format!("a map that is written down has {pairs} entries")))?;
            Some((WEIGH_ALL, Some(values)))
        }
        I::CallFunction(_, Some(0)) => None,
        I::ApplyFilter(_, count, _)
        | I::PerformTest(_, count, _)
        | I::CallFunction(_, count)
        | I::CallMethod(_, count)
        | I::CallObject(count) => Some((WEIGH_ALL, *count)),
        _ => None,
    })
}

/// The same instruction with the number of its arguments on top of the stack, where it has arguments.
fn counted_on_top<'a>(instruction: &Instruction<'a>) -> Option<Instruction<'a>> {
    let mut counted = instruction.clone();
    if let Instruction::ApplyFilter(_, count, _)
    | Instruction::PerformTest(_, count, _)
    | Instruction::CallFunction(_, count)
    | Instruction::CallMethod(_, count)
    | Instruction::CallObject(count) = &mut counted
    {
        *count = None;
        return Some(counted);
    }
    None
}

/// What is called between the instructions of a template.
#[derive(Debug)]
enum Call {
    /// Weighs its argument and returns it.
    WeighTop,
    /// Weighs its arguments and returns them as a list.
    WeighAll,
    /// As [`Self::WeighAll`], and of the first argument only what is a text.
    WeighIndex,
    /// Returns an iterable as a list, and what is none as it is.
    Flatten,
}

impl Object for Call {
    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, values: &[Value]) -> Result<Value, Error> {
        match **self {
            Self::WeighTop => weigh(state, values).map(|()| values[0].clone()),
            Self::WeighAll => weigh(state, values).map(|()| Value::from(values.to_vec())),
            Self::WeighIndex => {
                let is_text = values[0].as_str().is_some();
                weigh(state, &values[usize::from(!is_text)..]).map(|()| Value::from(values.to_vec()))
            }
            Self::Flatten if values[0].kind() == ValueKind::Iterable => {
                let pay = |item: Value| state.consume_fuel(1).map(|()| item);
                Ok(Value::from(values[0].try_iter()?.map(pay).collect::<Result<Vec<_>, _>>()?))
            }
            Self::Flatten => Ok(values[0].clone()),
        }
    }
}

fn weigh(state: &State<'_, '_>, values: &[Value]) -> Result<(), Error> {
    let mut left = WEIGHT_MAX;
    values.iter().try_for_each(|value| take(value, 0, &mut left))?;
    state.consume_fuel(((WEIGHT_MAX - left) / UNITS_PER_FUEL) as u64)
}

/// Takes the weight of `value` from what is `left`.
fn take(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
    let text_bytes = value.as_str().map_or(0, str::len);
    let too_heavy =
        || refused(format!("a value is not to be walked through, with all it holds above {WEIGHT_MAX} values"));
    *left = left.checked_sub(1 + text_bytes / UNIT_BYTES).ok_or_else(too_heavy)?;
    let Some(object) = value.as_object() else { return Ok(()) };
    if depth == DEPTH_MAX {
        return Err(refused(format!("lists and maps lie more than {DEPTH_MAX} deep in one another")));
    }
    held(object).try_for_each(|value| take(&value, depth + 1, left))
}

/// The keys and values of a map, the items of a list.
fn held(object: &DynObject) -> Box<dyn Iterator<Item = Value> + '_> {
    if object.repr() == ObjectRepr::Map {
        return Box::new(object.try_iter_pairs().into_iter().flatten().flat_map(|(key, value)| [key, value]));
    }
    let is_list = matches!(object.repr(), ObjectRepr::Seq | ObjectRepr::Iterable);
    Box::new(object.try_iter().filter(|_| is_list).into_iter().flatten())
}

/// The methods that Python's texts, lists and dictionaries have, where what they make is bounded.
fn python_method(state: &mut State<'_, '_>, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let text = value.as_str().unwrap_or_default();
    let bytes: usize = arguments.iter().filter_map(Value::as_str).map(str::len).sum();
    let made = match (method, arguments) {
        ("replace", [old, ..]) => text.len() + bytes * text.matches(old.as_str().unwrap_or_default()).count(),
        ("join", [items, ..]) => text.len() * items.len().unwrap_or_default(),
        ("format", _) => {
            FIELDS.refuse_foreign_keys(text)?;
            let digits = text.split(|character: char| !character.is_ascii_digit()).map(str::len).max();
            if digits.unwrap_or_default() > WIDTH_DIGITS_MAX {
                return Err(refused(format!(
                    "a text for `format` has a number of more than {WIDTH_DIGITS_MAX} digits"
                )));
            }
            let mut left = WEIGHT_MAX;
            arguments.iter().try_for_each(|argument| take(argument, 0, &mut left))?;
            let fields = text.matches('{').count();
            fields * ((WEIGHT_MAX - left) * UNIT_BYTES + 10_usize.pow(WIDTH_DIGITS_MAX as u32))
        }
        _ => 0,
    };
    if made > TEXT_BYTES_MAX {
        return Err(refused(format!("`{method}` is to make a text of more than {TEXT_BYTES_MAX} bytes")));
    }
    unknown_method_callback(state, value, method, arguments)
}

/// The engine's filter of this name, `'%(name)s' | format(name=1)`.
fn printf(state: &mut State<'_, '_>, text: &Value, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    CONVERSIONS.refuse_foreign_keys(text.as_str().unwrap_or_default())?;
    filters::format(state, text, arguments)
}

/// The engine's filter of this name, `a | chain(b)`: it looks through all that was chained before whenever a key or an item
/// is asked for, which maps and lists without any make endless.
fn chain(first: Value, others: Rest<Value>) -> Result<Value, Error> {
    let values: Vec<Value> = std::iter::once(first).chain(others.0).collect();
    if !values.iter().all(|value| value.kind() == ValueKind::Map) {
        let items = values.iter().map(Value::try_iter).collect::<Result<Vec<_>, _>>()?;
        return Ok(items.into_iter().flatten().collect());
    }
    let mut pairs = BTreeMap::new();
    for map in values {
        for key in map.try_iter()? {
            let value = map.get_item(&key)?;
            pairs.insert(key, value);
        }
    }
    Ok(Value::from(pairs))
}

/// How a text for `format` writes the keys of what it takes.
struct Keys {
    /// What a field begins with; twice it stands for itself.
    mark: char,
    brackets: [char; 2],
    /// What may stand before a key.
    is_name: fn(char) -> bool,
}

/// `{name[key].name}` of `str.format`.
const FIELDS: Keys = Keys {
    mark: '{',
    brackets: ['[', ']'],
    is_name: |character| character.is_ascii_alphanumeric() || matches!(character, '_' | '.'),
};
/// `%(key)s` of the filter.
const CONVERSIONS: Keys = Keys { mark: '%', brackets: ['(', ')'], is_name: |_| false };

impl Keys {
    /// Refuses keys beyond ASCII, which the engine passes over byte by byte, to panic within a character.
    fn refuse_foreign_keys(&self, text: &str) -> Result<(), Error> {
        let mut rest = text;
        while let Some((_, field)) = rest.split_once(self.mark) {
            rest = match field.strip_prefix(self.mark) {
                Some(literal) => literal,
                None => self.after_keys(field)?,
            };
        }
        Ok(())
    }

    /// What follows the keys that `field` begins with.
    fn after_keys<'a>(&self, field: &'a str) -> Result<&'a str, Error> {
        let [open, close] = self.brackets;
        let mut rest = field.trim_start_matches(self.is_name);
        while let Some(keyed) = rest.strip_prefix(open) {
            let (key, after) = keyed.split_once(close).unwrap_or((keyed, ""));
            if !key.is_ascii() {
                return Err(refused("a text for `format` has a key beyond ASCII; take the value before it"));
            }
            rest = after.trim_start_matches(self.is_name);
        }
        Ok(rest)
    }
}
