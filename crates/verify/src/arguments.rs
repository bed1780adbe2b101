//! One way of writing unions and the arguments of commands: `\frac12`, `\sqrt2` and `x^2` become `\frac{1}{2}`,
//! `\sqrt{2}`, `x^{2}`, and `(0,1) U (2,3)` becomes `(0,1) \cup (2,3)`.
//!
//! A command takes one character as LaTeX does; a superscript or subscript takes the whole number, as people mean it.

use crate::lex::{Origin, Token};

const OPEN: Token<'static> = Token::Symbol('{');
const CLOSE: Token<'static> = Token::Symbol('}');

/// Puts braces around the arguments that are written without, and takes the space out of the edges of all braces.
pub(crate) fn brace_arguments<'a>(mut tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut braced = Vec::with_capacity(tokens.len());
    // Arguments that the last command still expects, for each open brace.
    let mut expected_by_depth = vec![0_usize];
    while let [token, rest @ ..] = tokens {
        tokens = rest;
        let depth = expected_by_depth.len() - 1;
        let expected = expected_by_depth[depth];
        match *token {
            OPEN => {
                expected_by_depth[depth] = expected.saturating_sub(1);
                expected_by_depth.push(0);
                braced.push(OPEN);
                let blank = rest.iter().take_while(|token| **token == Token::Space).count();
                tokens = &rest[blank..];
            }
            CLOSE => {
                expected_by_depth.truncate(depth.max(1));
                let written = braced.iter().rposition(|token| *token != Token::Space).map_or(0, |last| last + 1);
                braced.truncate(written);
                braced.push(CLOSE);
            }
            script @ Token::Symbol('^' | '_') => {
                braced.push(script);
                tokens = brace_script(&mut braced, rest);
            }
            Token::Command(name) => {
                let arguments = arguments_of(name);
                expected_by_depth[depth] = if arguments > 0 { arguments } else { expected.saturating_sub(1) };
                if arguments == 0 && expected > 0 {
                    braced.extend([OPEN, *token, CLOSE]);
                } else {
                    braced.push(*token);
                }
            }
            Token::Space if expected > 0 => {}
            Token::Digits(_) | Token::Word { .. } if expected > 0 => {
                expected_by_depth[depth] = expected - brace_leading(&mut braced, *token, expected);
            }
            other @ (Token::Digits(_) | Token::Word { .. } | Token::Symbol(_) | Token::Dollar | Token::Space) => {
                expected_by_depth[depth] = 0;
                braced.push(other);
            }
        }
    }
    braced
}

/// Puts `\cup` for a plain `U` between two intervals.
pub(crate) fn read_unions(tokens: &mut [Token<'_>]) {
    let is_written = |token: &&Token| !matches!(token, Token::Space | Token::Dollar);
    let opens = |token: &Token| matches!(token, Token::Symbol('(' | '['));
    for at in 0..tokens.len() {
        let (before, after) = (&tokens[..at], &tokens[at + 1..]);
        let ends = |token: &Token| matches!(token, Token::Symbol(')' | ']'));
        let is_between = matches!(tokens[at], Token::Word { letters: "U", .. })
            && before.iter().rev().find(is_written).is_some_and(ends)
            && after.iter().find(is_written).is_some_and(opens)
            && before.contains(&Token::Symbol(','))
            && after.contains(&Token::Symbol(','));
        if is_between {
            tokens[at] = Token::Command("cup");
        }
    }
}

fn arguments_of(command: &str) -> usize {
    match command {
        "frac" | "binom" => 2,
        "sqrt" => 1,
        _ => 0,
    }
}

/// Braces what is raised or lowered at the start of `tokens`, and returns what follows it.
fn brace_script<'t, 'a>(braced: &mut Vec<Token<'a>>, tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match tokens {
        [Token::Symbol('-'), digits @ Token::Digits(_), rest @ ..] => {
            braced.extend([OPEN, Token::Symbol('-'), *digits, CLOSE]);
            rest
        }
        [digits @ Token::Digits(_), rest @ ..] => {
            braced.extend([OPEN, *digits, CLOSE]);
            rest
        }
        [word @ Token::Word { .. }, rest @ ..] => {
            brace_leading(braced, *word, 1);
            rest
        }
        [command @ Token::Command(name), rest @ ..] if arguments_of(name) == 0 => {
            braced.extend([OPEN, *command, CLOSE]);
            rest
        }
        all => all,
    }
}

/// Braces up to `wanted` leading characters of digits or a word one by one, passes on the rest, and says how many it
/// braced. A word of `\text{…}` is one argument.
fn brace_leading<'a>(braced: &mut Vec<Token<'a>>, token: Token<'a>, wanted: usize) -> usize {
    let (mut rest, origin) = match token {
        Token::Digits(digits) => (digits, None),
        Token::Word { letters, origin } => (letters, Some(origin)),
        Token::Command(_) | Token::Symbol(_) | Token::Dollar | Token::Space => {
            unreachable!("{token:?} has no characters")
        }
    };
    let like = |run| origin.map_or(Token::Digits(run), |origin| Token::Word { letters: run, origin });
    let mut taken = 0;
    while let Some(first) = rest.chars().next().filter(|_| taken < wanted) {
        let argument_bytes = if origin == Some(Origin::Text) { rest.len() } else { first.len_utf8() };
        let (argument, after) = rest.split_at(argument_bytes);
        braced.extend([OPEN, like(argument), CLOSE]);
        rest = after;
        taken += 1;
    }
    if !rest.is_empty() {
        braced.push(like(rest));
    }
    taken
}
