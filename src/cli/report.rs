//! What `check` says: a line for each finding, and what to do about it below.

use super::{FAILED, text};

/// Counts what it prints.
#[derive(Default)]
pub struct Report {
    bad: usize,
    warnings: usize,
}

impl Report {
    pub fn ok(&self, area: &str, what: &str) {
        out!("{} {area:<14} {what}", text::OK);
    }

    pub fn warn(&mut self, area: &str, what: &str, todo: &str) {
        self.warnings += 1;
        self.line(text::WARN, area, what, todo);
    }

    pub fn bad(&mut self, area: &str, what: &str, todo: &str) {
        self.bad += 1;
        self.line(text::BAD, area, what, todo);
    }

    fn line(&self, mark: &str, area: &str, what: &str, todo: &str) {
        out!("{mark} {area:<14} {what}");
        if !todo.is_empty() {
            out!("  {:<14} → {todo}", "");
        }
    }

    /// The last line; 0 when nothing has to be mended.
    pub fn status(&self) -> u8 {
        let bad = text::count(self.bad, "thing");
        match (self.bad, self.warnings) {
            (0, 0) => out!("all is well"),
            (0, n) => {
                out!("nothing has to be mended; {}", text::count(n, "piece") + " of advice")
            }
            (_, _) => out!("{bad} to mend"),
        }
        if self.bad == 0 { 0 } else { FAILED }
    }
}
