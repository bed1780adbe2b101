//! What the commands of LaTeX and the characters of Unicode mean, synonyms merged. A table; reading is for `lex`.

use crate::lex::{Origin, Token};

/// What a command is to the lexer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// Nothing but looks; read over.
    Look,
    /// A bracket's size; read over, with the full stop that stands for no bracket.
    Bracket,
    Space,
    /// The look of the group that follows.
    Style(Origin),
    /// The colour that the first group names, of the second or of what follows.
    Colour,
    /// The look of the group that follows, which stands where it stood.
    SameStyle,
    Is(Token<'a>),
}

/// What a command without its backslash means.
pub(crate) fn meaning(name: &str) -> Meaning<'_> {
    let token = match name {
        "left" | "right" | "middle" | "big" | "Big" | "bigl" | "bigr" | "Bigl" | "Bigr" | "bigg" | "Bigg" | "biggl"
        | "biggr" | "Biggl" | "Biggr" => return Meaning::Bracket,
        "displaystyle" | "textstyle" | "scriptstyle" | "limits" | "nolimits" | "hline" | "rm" | "bf" | "it"
        | "tiny" | "scriptsize" | "footnotesize" | "small" | "normalsize" | "large" | "Large" | "LARGE" | "huge"
        | "Huge" => return Meaning::Look,
        "color" | "textcolor" => return Meaning::Colour,
        "," | ";" | ":" | "quad" | "qquad" | "thinspace" | ">" | "enspace" | "nobreakspace" => return Meaning::Space,
        _ if name.trim().is_empty() => return Meaning::Space,
        "text" | "mbox" | "hbox" | "textrm" | "textbf" | "textit" | "textnormal" | "texttt" | "textsf" | "emph"
        | "mathrm" | "operatorname" => return Meaning::Style(Origin::Text),
        "mathbf" | "mathit" | "mathsf" | "boldsymbol" | "bm" | "boxed" | "fbox" | "underline" | "ensuremath" => {
            return Meaning::SameStyle;
        }
        "$" | "(" | ")" | "[" | "]" | "pounds" | "euro" | "textdollar" => Token::Dollar,
        "%" => Token::Symbol('%'),
        "&" => Token::Symbol('&'),
        "#" => Token::Symbol('#'),
        "_" => Token::Symbol('_'),
        "lt" => Token::Symbol('<'),
        "gt" => Token::Symbol('>'),
        "colon" => Token::Symbol(':'),
        "lbrack" => Token::Symbol('['),
        "rbrack" => Token::Symbol(']'),
        "lvert" | "rvert" | "vert" | "mid" => Token::Symbol('|'),
        "prime" => Token::Symbol('\''),
        "degree" | "textdegree" => Token::Symbol('°'),
        other => Token::Command(synonym(other)),
    };
    Meaning::Is(token)
}

fn synonym(name: &str) -> &str {
    match name {
        "dfrac" | "tfrac" | "cfrac" | "sfrac" | "nicefrac" => "frac",
        "dbinom" | "tbinom" => "binom",
        "leq" | "leqslant" | "leqq" => "le",
        "geq" | "geqslant" | "geqq" => "ge",
        "neq" => "ne",
        "approxeq" | "simeq" | "thickapprox" => "approx",
        "varnothing" => "emptyset",
        "lbrace" => "{",
        "rbrace" => "}",
        "Vert" | "lVert" | "rVert" => "|",
        "cdotp" | "ast" => "cdot",
        "setminus" | "smallsetminus" | "backslash" => "setminus",
        "bigcup" => "cup",
        "bigcap" => "cap",
        "varphi" => "phi",
        "vartheta" => "theta",
        "varepsilon" => "epsilon",
        "arcsec" | "asec" => "arcsec",
        "tg" => "tan",
        "ctg" => "cot",
        "dotsc" | "dotsb" | "cdots" | "ldots" | "dotsm" => "dots",
        "wedge" | "land" => "and",
        "vee" | "lor" => "or",
        other => other,
    }
}

/// What a character means by itself; nothing where it is read over.
pub(crate) fn character(c: char) -> Option<Token<'static>> {
    let token = match c {
        '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}' | '\u{2061}'..='\u{2064}' => return None,
        '\u{2212}' | '\u{2010}'..='\u{2013}' | '\u{FE63}' | '\u{FF0D}' => Token::Symbol('-'),
        '$' | '€' | '£' | '¥' | '₹' => Token::Dollar,
        '％' => Token::Symbol('%'),
        'º' => Token::Symbol('°'),
        '⁄' | '∕' => Token::Symbol('/'),
        '，' => Token::Symbol(','),
        '；' => Token::Symbol(';'),
        '：' | '∶' => Token::Symbol(':'),
        '（' => Token::Symbol('('),
        '）' => Token::Symbol(')'),
        '′' | '’' => Token::Symbol('\''),
        '∣' => Token::Symbol('|'),
        '×' => Token::Command("times"),
        '·' | '⋅' | '∙' => Token::Command("cdot"),
        '÷' => Token::Command("div"),
        '∞' => Token::Command("infty"),
        '√' => Token::Command("surd"),
        '±' => Token::Command("pm"),
        '∓' => Token::Command("mp"),
        '≤' | '⩽' | '≦' => Token::Command("le"),
        '≥' | '⩾' | '≧' => Token::Command("ge"),
        '≠' => Token::Command("ne"),
        '≈' | '≃' => Token::Command("approx"),
        '≡' => Token::Command("equiv"),
        '∈' => Token::Command("in"),
        '∪' => Token::Command("cup"),
        '∩' => Token::Command("cap"),
        '∖' => Token::Command("setminus"),
        '∅' | 'Ø' => Token::Command("emptyset"),
        '⟨' | '〈' => Token::Command("langle"),
        '⟩' | '〉' => Token::Command("rangle"),
        '⌊' => Token::Command("lfloor"),
        '⌋' => Token::Command("rfloor"),
        '⌈' => Token::Command("lceil"),
        '⌉' => Token::Command("rceil"),
        '∠' => Token::Command("angle"),
        other => greek(other).map_or(Token::Symbol(other), Token::Command),
    };
    Some(token)
}

/// The command of a Greek letter.
pub(crate) fn greek(c: char) -> Option<&'static str> {
    let (_, name) = GREEK.iter().find(|(letter, _)| *letter == c)?;
    Some(name)
}

/// Whether a command stands for a letter.
pub(crate) fn is_letter(command: &str) -> bool {
    GREEK.iter().any(|(_, name)| *name == command)
        || matches!(command, "ell" | "hbar" | "Re" | "Im" | "aleph" | "partial" | "nabla")
}

const GREEK: [(char, &str); 34] = [
    ('α', "alpha"),
    ('β', "beta"),
    ('γ', "gamma"),
    ('δ', "delta"),
    ('ε', "epsilon"),
    ('ζ', "zeta"),
    ('η', "eta"),
    ('θ', "theta"),
    ('ϑ', "theta"),
    ('ι', "iota"),
    ('κ', "kappa"),
    ('λ', "lambda"),
    ('μ', "mu"),
    ('ν', "nu"),
    ('ξ', "xi"),
    ('π', "pi"),
    ('ρ', "rho"),
    ('σ', "sigma"),
    ('τ', "tau"),
    ('υ', "upsilon"),
    ('φ', "phi"),
    ('ϕ', "phi"),
    ('χ', "chi"),
    ('ψ', "psi"),
    ('ω', "omega"),
    ('Γ', "Gamma"),
    ('Δ', "Delta"),
    ('Θ', "Theta"),
    ('Λ', "Lambda"),
    ('Ξ', "Xi"),
    ('Π', "Pi"),
    ('Σ', "Sigma"),
    ('Φ', "Phi"),
    ('Ω', "Omega"),
];

/// Commands that a doubled backslash is taken off, as JSON escapes them.
pub(crate) fn is_escaped_twice(name: &str) -> bool {
    matches!(
        name,
        "frac"
            | "dfrac"
            | "tfrac"
            | "sqrt"
            | "text"
            | "textbf"
            | "mathrm"
            | "left"
            | "right"
            | "le"
            | "leq"
            | "ge"
            | "geq"
            | "ne"
            | "neq"
            | "lt"
            | "gt"
            | "pi"
            | "infty"
            | "cup"
            | "cap"
            | "in"
            | "pm"
            | "cdot"
            | "times"
            | "circ"
            | "boxed"
            | "fbox"
            | "quad"
            | "binom"
            | "sin"
            | "cos"
            | "tan"
            | "log"
            | "ln"
            | "theta"
            | "alpha"
            | "begin"
            | "mathbb"
            | "emptyset"
            | "approx"
            | "overline"
    )
}

/// A fraction that is one character.
pub(crate) fn vulgar_fraction(c: char) -> Option<(&'static str, &'static str)> {
    Some(match c {
        '½' => ("1", "2"),
        '⅓' => ("1", "3"),
        '⅔' => ("2", "3"),
        '¼' => ("1", "4"),
        '¾' => ("3", "4"),
        '⅕' => ("1", "5"),
        '⅖' => ("2", "5"),
        '⅗' => ("3", "5"),
        '⅘' => ("4", "5"),
        '⅙' => ("1", "6"),
        '⅚' => ("5", "6"),
        '⅛' => ("1", "8"),
        '⅜' => ("3", "8"),
        '⅝' => ("5", "8"),
        '⅞' => ("7", "8"),
        _ => return None,
    })
}

/// The character that a raised or lowered one stands for, and whether it is raised.
pub(crate) fn script(c: char) -> Option<(Script, &'static str)> {
    const RAISED: [(char, &str); 13] = [
        ('⁰', "0"),
        ('¹', "1"),
        ('²', "2"),
        ('³', "3"),
        ('⁴', "4"),
        ('⁵', "5"),
        ('⁶', "6"),
        ('⁷', "7"),
        ('⁸', "8"),
        ('⁹', "9"),
        ('⁻', "-"),
        ('⁺', "+"),
        ('ⁿ', "n"),
    ];
    const LOWERED: [(char, &str); 10] = [
        ('₀', "0"),
        ('₁', "1"),
        ('₂', "2"),
        ('₃', "3"),
        ('₄', "4"),
        ('₅', "5"),
        ('₆', "6"),
        ('₇', "7"),
        ('₈', "8"),
        ('₉', "9"),
    ];
    let find = |table: &[(char, &'static str)]| table.iter().find(|(own, _)| *own == c).map(|(_, plain)| *plain);
    find(&RAISED).map(|plain| (Script::Raised, plain)).or_else(|| find(&LOWERED).map(|plain| (Script::Lowered, plain)))
}

/// Where a small character stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    Raised,
    Lowered,
}
