//! Reads pgpool.conf line by line, exactly as pgpool's lexer does, and loses no byte.
//!
//! pgpool reads tokens, not lines, but none of its tokens spans a line and a missing value is the
//! end of the line itself, so every line can be read alone. What looks odd below is measured on
//! pgpool: several settings fit on one line, `=` is optional, a quoted value knows no escapes but
//! runs on past
//! `\'` if another quote follows, and a comment needs a newline after it.

/// One physical line of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: usize,
    /// Where it starts in the file.
    pub start: usize,
    /// All of it, with its line end (the last line may have none).
    pub bytes: &'a [u8],
    pub content: Content,
    /// Where in `bytes` its comment starts.
    pub comment: Option<usize>,
}

/// What pgpool makes of a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Settings in order; none for a blank line or a comment.
    Settings(Vec<Setting>),
    /// A syntax error: pgpool ignores the whole file because of it. The text says what is wrong.
    Garbled(String),
}

/// `key = value` with the outer quotes taken off the value. A missing value is `"\n"`, as in
/// pgpool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub key: String,
    pub value: Vec<u8>,
}

impl Setting {
    /// The value as text; `None` when there is none on its line, or it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok().filter(|v| *v != "\n")
    }
}

impl Line<'_> {
    /// The settings of a readable line.
    pub fn settings(&self) -> &[Setting] {
        match &self.content {
            Content::Settings(settings) => settings,
            Content::Garbled(_) => &[],
        }
    }

    /// The end of the line in the file.
    pub fn end(&self) -> usize {
        self.start + self.bytes.len()
    }

    /// The text of a line that is nothing but a comment, without the blanks around it.
    pub fn comment_text(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.bytes).ok()?.trim();
        text.starts_with('#').then_some(text)
    }
}

/// Splits a file into its lines. Put together again, their bytes are the file.
pub fn lines(file: &[u8]) -> Vec<Line<'_>> {
    let mut start = 0;
    let mut all = Vec::new();
    for (index, bytes) in file.split_inclusive(|b| *b == b'\n').enumerate() {
        let mut lexer = Lexer { line: bytes, at: 0 };
        let content = match lexer.settings() {
            Ok(settings) => Content::Settings(settings),
            Err(what) => Content::Garbled(what),
        };
        let comment = (lexer.line.get(lexer.at) == Some(&b'#')).then_some(lexer.at);
        all.push(Line { number: index + 1, start, bytes, content, comment });
        start += bytes.len();
    }
    all
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Key,
    Quoted,
    /// A bare word that cannot be a key, or a number.
    Plain,
    Equals,
    EndOfLine,
    EndOfFile,
    Bad,
}

struct Lexer<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Every setting of the line; stops at the comment, if any.
    fn settings(&mut self) -> Result<Vec<Setting>, String> {
        let mut settings = Vec::new();
        loop {
            let (token, key) = self.next();
            match token {
                Token::EndOfLine | Token::EndOfFile => return Ok(settings),
                Token::Key => {}
                Token::Bad if key == b"#" => {
                    return Err("a comment at the end of the file needs a newline after it".into());
                }
                _ => return Err(self.no_name(key)),
            }
            let (mut token, mut value) = self.next();
            if token == Token::Equals {
                (token, value) = self.next();
            }
            if token == Token::Quoted {
                value = &value[1..value.len() - 1];
            }
            if value.contains(&0) {
                return Err("a NUL byte in a value".into());
            }
            let key = String::from_utf8_lossy(key).into_owned();
            settings.push(Setting { key, value: value.to_vec() });
            if matches!(token, Token::EndOfLine | Token::EndOfFile) {
                return Ok(settings);
            }
        }
    }

    /// What it is stays unsaid: a quote in a password makes a token of what follows it, and so does
    /// a value that stands on the line after its setting.
    fn no_name(&self, token: &[u8]) -> String {
        let before = &self.line[..self.at - token.len()];
        let column = String::from_utf8_lossy(before).chars().count() + 1;
        format!("what stands at column {column} is not a setting's name")
    }

    /// The next token and its text. At a comment it stays in front of it.
    fn next(&mut self) -> (Token, &'a [u8]) {
        while matches!(self.line.get(self.at), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
        let rest = &self.line[self.at..];
        let has_newline = self.line.ends_with(b"\n");
        let (token, length) = match rest.first() {
            None => return (Token::EndOfFile, b""),
            Some(b'\n') => return (Token::EndOfLine, b"\n"),
            Some(b'#') if has_newline => return (Token::EndOfLine, b"\n"),
            Some(b'\'') => quoted(rest),
            Some(b'=') => (Token::Equals, 1),
            Some(b) if is_letter(*b) => word(rest),
            Some(_) => number(rest),
        };
        self.at += length;
        (token, &rest[..length])
    }
}

/// Letters of names: ASCII letters, the underscore and every byte above ASCII.
fn is_letter(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

fn count(bytes: &[u8], fits: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|b| fits(**b)).count()
}

/// A name, or a longer bare word.
fn word(rest: &[u8]) -> (Token, usize) {
    let name = count(rest, |b| is_letter(b) || b.is_ascii_digit());
    let bare = count(rest, |b| is_letter(b) || b.is_ascii_digit() || b"-._:/".contains(&b));
    if bare > name { (Token::Plain, bare) } else { (Token::Key, name) }
}

/// The longest run from a quote to a quote in which each quote between follows a backslash.
fn quoted(rest: &[u8]) -> (Token, usize) {
    let mut longest = None;
    for (i, b) in rest.iter().enumerate().skip(1) {
        match b {
            b'\n' => break,
            b'\'' => {
                longest = Some(i + 1);
                if i == 1 || rest[i - 1] != b'\\' {
                    break;
                }
            }
            _ => {}
        }
    }
    longest.map_or((Token::Bad, 1), |length| (Token::Quoted, length))
}

/// The longest of an integer with a unit, a hexadecimal one and a decimal fraction.
fn number(rest: &[u8]) -> (Token, usize) {
    let digit = |b: u8| b.is_ascii_digit();
    let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
    let body = &rest[sign..];
    let whole = count(body, digit);
    let with_unit = |from: usize| from + count(&body[from..], |b| b.is_ascii_alphabetic());
    let mut longest = if whole > 0 { with_unit(whole) } else { 0 };
    if body.starts_with(b"0x") {
        let hex = count(&body[2..], |b| b.is_ascii_hexdigit());
        if hex > 0 {
            longest = longest.max(with_unit(2 + hex));
        }
    }
    if body.get(whole) == Some(&b'.') {
        let mut end = whole + 1 + count(&body[whole + 1..], digit);
        if matches!(body.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(body.get(end + 1), Some(b'+' | b'-')));
            let exponent = count(&body[end + 1 + sign..], digit);
            end += if exponent > 0 { 1 + sign + exponent } else { 0 };
        }
        longest = longest.max(end);
    }
    if longest == 0 { (Token::Bad, 1) } else { (Token::Plain, sign + longest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Vec<(String, String)>, String> {
        match lines(line.as_bytes()).remove(0).content {
            Content::Garbled(what) => Err(what),
            Content::Settings(all) => Ok(all
                .into_iter()
                .map(|s| (s.key, String::from_utf8_lossy(&s.value).into_owned()))
                .collect()),
        }
    }

    #[track_caller]
    fn says(line: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(read(line), Ok(expected), "{line:?}");
    }

    #[test]
    fn values_are_read_as_pgpool_reads_them() {
        says("a = 'x y' # c\n", &[("a", "x y")]);
        says("a 5s\r\n", &[("a", "5s")]);
        says("a=b-c/d.e:f", &[("a", "b-c/d.e:f")]);
        says("a = 0x1F b = -.5e3 c=''\n", &[("a", "0x1F"), ("b", "-.5e3"), ("c", "")]);
        says("a = 'x # y'\n", &[("a", "x # y")]);
        says("  # a = 1\n", &[]);
    }

    #[test]
    fn a_quote_after_a_backslash_ends_the_value_only_if_no_other_follows() {
        says("a = 'b\\'c'\n", &[("a", "b\\'c")]);
        says("a = 'b\\' # it's\n", &[("a", "b\\' # it"), ("s", "\n")]);
        says("a = 'b\\'\n", &[("a", "b\\")]);
    }

    #[test]
    fn a_missing_value_is_the_end_of_the_line() {
        says("a =\n", &[("a", "\n")]);
        says("a # c\n", &[("a", "\n")]);
        says("a", &[("a", "")]);
    }

    #[test]
    fn what_pgpool_refuses_is_garbled() {
        for bad in ["a = 'b''c'\n", "1 = 2\n", "a.b = 1\n", "a = 10.0.0.1\n", "\u{c}\n", "# end"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_garbled_is_named_by_its_column_only() {
        for (line, column) in [
            ("sr_check_password = 'ab''SecretTail'\n", 25),
            ("pässword = 'ab''SecretTail'\n", 16),
            ("'SecretTail'\n", 1),
            ("wd_authkey = 'ab'Secret.Tail\n", 18),
            ("wd_authkey = 'ab'\t= 'SecretTail'\n", 19),
        ] {
            let said = format!("what stands at column {column} is not a setting's name");
            assert_eq!(read(line), Err(said), "{line:?}");
        }
    }

    #[test]
    fn lines_put_together_are_the_file() {
        let file = b"a = 1\r\n\xff\xfe # \x80\n\n'x";
        let all = lines(file);
        assert_eq!(all.iter().flat_map(|l| l.bytes).copied().collect::<Vec<_>>(), file);
        assert_eq!(all.iter().map(|l| l.start).collect::<Vec<_>>(), [0, 7, 14, 15]);
        assert_eq!(all[1].comment, Some(3));
    }
}
