//! Matrices and vectors: `pmatrix`, `bmatrix`, `array` and their like.

use crate::{
    expression::Node,
    lex::Token,
    limits::{Reading, Stop},
    parse::{Bounds, Cursor, closing, expression},
};

/// Most entries of a matrix.
const ENTRIES_MAX: usize = 100;

impl<'a> Cursor<'_, 'a> {
    /// The environment whose `\begin` stands before `rest`.
    pub(super) fn matrix(&mut self, rest: &[Token<'a>], bounds: &mut Bounds<'_>) -> Reading<Node> {
        let end = closing(rest).ok_or(Stop::NotMathematics)?;
        let opened = self.rest().len() - rest.len();
        let [Token::Symbol('{'), Token::Word { letters: environment, .. }, Token::Symbol('}'), content @ ..] =
            &rest[..end]
        else {
            return Err(Stop::NotMathematics);
        };
        let content = match (*environment, content) {
            ("pmatrix" | "bmatrix" | "matrix" | "smallmatrix" | "Bmatrix", content) => content,
            ("array", [Token::Symbol('{'), columns @ ..]) => {
                let after = closing(columns).ok_or(Stop::NotMathematics)?;
                &columns[after + 1..]
            }
            // Among them `vmatrix`, which is a determinant and not a matrix.
            _ => return Err(Stop::NotMathematics),
        };
        let [_, Token::Symbol('{'), Token::Word { .. }, Token::Symbol('}'), ..] = rest[end..] else {
            return Err(Stop::NotMathematics);
        };
        let rows = bounds.deeper(|bounds| rows(content, bounds))?;
        // Past `\end{…}`.
        self.skip(opened + end + 4);
        Ok(Node::Matrix(rows))
    }
}

fn rows(content: &[Token<'_>], bounds: &mut Bounds<'_>) -> Reading<Vec<Vec<Node>>> {
    let mut rows: Vec<Vec<Node>> = vec![Vec::new()];
    let mut start = 0;
    let mut depth = 0_usize;
    for (at, token) in content.iter().enumerate() {
        match token {
            Token::Symbol('{' | '(') | Token::Command("begin") => depth += 1,
            Token::Symbol('}' | ')') | Token::Command("end") => depth = depth.saturating_sub(1),
            Token::Symbol('&') | Token::Command("\\") if depth == 0 => {
                push_entry(&mut rows, &content[start..at], bounds)?;
                start = at + 1;
                if *token == Token::Command("\\") {
                    rows.push(Vec::new());
                }
            }
            Token::Digits(_)
            | Token::Word { .. }
            | Token::Command(_)
            | Token::Symbol(_)
            | Token::Dollar
            | Token::Space => {}
        }
    }
    push_entry(&mut rows, &content[start..], bounds)?;
    if rows.last().is_some_and(Vec::is_empty) {
        rows.pop();
    }
    let width = rows.first().map_or(0, Vec::len);
    let is_rectangular = width > 0 && rows.iter().all(|row| row.len() == width) && rows.len() * width <= ENTRIES_MAX;
    if is_rectangular { Ok(rows) } else { Err(Stop::NotMathematics) }
}

fn push_entry(rows: &mut [Vec<Node>], tokens: &[Token<'_>], bounds: &mut Bounds<'_>) -> Reading<()> {
    let is_blank = tokens.iter().all(|token| matches!(token, Token::Space | Token::Dollar));
    let Some(row) = rows.last_mut() else { return Err(Stop::NotMathematics) };
    // Only the row after the last double backslash may be blank.
    if is_blank {
        return if row.is_empty() { Ok(()) } else { Err(Stop::NotMathematics) };
    }
    row.push(bounds.deeper(|bounds| expression(tokens, bounds))?);
    Ok(())
}
