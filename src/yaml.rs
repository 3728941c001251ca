//! YAML text to a small tree of our own, and nothing else.
//!
//! The only module that may use `serde_yaml`, which is no longer maintained: whoever replaces it
//! changes this file alone. Reading into a tree, and not into structs, is what lets the
//! configuration report every problem at once. No error text quotes a value: it may be a secret.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess};
use serde::de::{IgnoredAny, VariantAccess, Visitor};

/// The largest text that is read. pgpool's own sample file, the longest `config_append` to expect,
/// has some 50 kilobytes.
pub const BYTES_MAX: usize = 256 * 1024;

/// How many `[` and `{` a text may have. The parser's time grows with the square of the open ones:
/// 35 s for 65,000 in an unoptimised build. A configuration has a few dozen.
const BRACKETS_MAX: usize = 2_000;

/// What the tree may weigh, aliases expanded: four times the largest text. Without it a few
/// kilobytes of nested aliases fill the memory.
const WEIGHT_MAX: usize = 4 * BYTES_MAX;

/// What a node weighs beside its text.
const NODE_WEIGHT: usize = 32;

/// One YAML value. Keys keep their order and may repeat: the reader decides what that means.
#[derive(Clone, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What this is, in words for an error message.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "empty",
            Node::Bool(_) => "a boolean",
            Node::Int(_) | Node::Float(_) => "a number",
            Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Map(_) => "a section of keys",
        }
    }
}

/// Prints what it is, never what it says: a value may be a secret.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// Why a text is not YAML that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// Line and column, from 1, where the parser knows them.
    pub at: Option<(usize, usize)>,
    pub message: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for YamlError {}

/// Parses one YAML document. Bounded in size, depth and expansion.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    if text.len() > BYTES_MAX {
        let message = format!("{} bytes, more than the {BYTES_MAX} that are read", text.len());
        return Err(YamlError { at: None, message });
    }
    if text.bytes().filter(|b| matches!(b, b'[' | b'{')).count() > BRACKETS_MAX {
        return Err(YamlError { at: None, message: "too many opening brackets".to_owned() });
    }
    let left = Cell::new(WEIGHT_MAX);
    let document = serde_yaml::Deserializer::from_str(text);
    Tree { left: &left }.deserialize(document).map_err(|e| {
        let at = e.location().map(|l| (l.line(), l.column()));
        YamlError { at, message: without_place(&e.to_string(), at) }
    })
}

/// The parser puts the place into its sentence; it is told separately.
fn without_place(message: &str, at: Option<(usize, usize)>) -> String {
    match at {
        Some((line, column)) => message.replace(&format!(" at line {line} column {column}"), ""),
        None => message.to_owned(),
    }
}

/// Builds a [`Node`] from whatever comes, and pays for each from what is left.
#[derive(Clone, Copy)]
struct Tree<'a> {
    left: &'a Cell<usize>,
}

impl Tree<'_> {
    fn pay<E: serde::de::Error>(&self, text: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(NODE_WEIGHT + text);
        self.left.set(left.ok_or_else(|| E::custom("aliases expand to too much"))?);
        Ok(())
    }

    fn leaf<E: serde::de::Error>(&self, node: Node) -> Result<Node, E> {
        self.pay(0)?;
        Ok(node)
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Node, E> {
        self.leaf(Node::Null)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        self.leaf(Node::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Node, E> {
        self.leaf(Node::Bool(v))
    }

    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Node, E> {
        self.leaf(Node::Int(v.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Node, E> {
        self.leaf(Node::Int(v.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, v: i128) -> Result<Node, E> {
        self.leaf(Node::Int(v))
    }

    fn visit_u128<E: serde::de::Error>(self, v: u128) -> Result<Node, E> {
        let beyond = || E::custom("a whole number of more than 38 digits");
        self.leaf(Node::Int(i128::try_from(v).map_err(|_| beyond())?))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Node, E> {
        self.leaf(Node::Float(v))
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Node, E> {
        self.pay(v.len())?;
        Ok(Node::Text(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        self.pay(0)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        self.pay(0)?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(self)? {
            let key = match key {
                Node::Text(key) => key,
                Node::Int(key) => key.to_string(),
                other => {
                    return Err(A::Error::custom(format!("a key that is {}", other.kind())));
                }
            };
            entries.push((key, map.next_value_seed(self)?));
        }
        Ok(Node::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Node, A::Error> {
        let (_, rest) = data.variant::<IgnoredAny>()?;
        rest.newtype_variant::<IgnoredAny>()?;
        Err(A::Error::custom("YAML tags (!name) are not supported"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Node {
        Node::Text(s.to_owned())
    }

    #[test]
    fn every_kind_of_value_is_kept() {
        let parsed = parse("{a: ~, b: true, c: 1, d: 1.5, e: x, f: [y], 5: '1'}").unwrap();
        let entry = |k: &str, v| (k.to_owned(), v);
        let expected = Node::Map(vec![
            entry("a", Node::Null),
            entry("b", Node::Bool(true)),
            entry("c", Node::Int(1)),
            entry("d", Node::Float(1.5)),
            entry("e", text("x")),
            entry("f", Node::List(vec![text("y")])),
            entry("5", text("1")),
        ]);
        assert!(parsed == expected);
        assert!(parse("").unwrap() == Node::Null);
        assert!(parse("# only a comment\n").unwrap() == Node::Null);
    }

    #[test]
    fn a_repeated_key_is_kept_for_the_reader_to_refuse() {
        let Node::Map(entries) = parse("a: 1\na: 2\n").unwrap() else { panic!("not a map") };
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn a_syntax_error_tells_its_place() {
        let error = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert_eq!(error.at.map(|(line, _)| line), Some(3));
        assert!(!error.message.contains("at line 3"), "{error}");
        assert!(parse("a: !secret hunter2\n").unwrap_err().to_string().contains("tags"));
        assert!(parse("a: 1\n---\nb: 1\n").is_err());
    }

    #[test]
    fn no_error_quotes_a_value() {
        for bad in
            ["p: *hunter2", "p: !hunter2 hunter2", "p: \"hunter2", "p: {hunter2: [}", "p: %hunter2"]
        {
            let error = parse(bad).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn hostile_text_ends_soon_and_in_an_error() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let aliases = vec![format!("*a{}", n - 1); 9].join(", ");
            laughs += &format!("a{n}: &a{n} [{aliases}]\n");
        }
        assert!(parse(&laughs).is_err());
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(50_000), vec!["*a"; 1_000].join(", "));
        assert!(parse(&long).unwrap_err().message.contains("expand"));
        assert!(parse("a: &a [*a]").is_err());
        assert!(parse(&"[".repeat(BYTES_MAX)).unwrap_err().message.contains("brackets"));
        assert!(parse(&"[".repeat(BRACKETS_MAX)).is_err());
        assert!(parse(&"{a: ".repeat(BRACKETS_MAX)).is_err());
        assert!(parse(&"- ".repeat(BYTES_MAX / 2)).is_err());
        assert!(parse(&"x".repeat(BYTES_MAX + 1)).unwrap_err().message.contains("bytes"));
    }
}
