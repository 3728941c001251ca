//! What is remembered of restarts, in a small file beside pgpool.conf: it outlives an agent that is
//! killed in the middle of one.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::KeeperError;
use crate::host::atomic::{self, Attributes};
use crate::host::replace::{beside, resolve};
use crate::host::trusted;
use crate::model::ids::{SLOTS_MAX, SlotIndex};
use crate::model::restart::{Failed, Layout, RestartNote, Stage, UnderWay};
use crate::model::slots::SlotTable;
use crate::pgpool_conf::table;

const SUFFIX: &str = ".geo-agent.restart";
/// No secret in it, and `status` of another user reads it, as it does the lock and the state.
const MODE: u32 = 0o644;

/// The file, and what is in it.
#[derive(Debug)]
pub struct Notebook {
    path: PathBuf,
    note: RefCell<RestartNote>,
}

impl Notebook {
    /// The one for the pgpool.conf at this path.
    pub fn open(config_path: &Path) -> Result<Self, KeeperError> {
        let resolved = resolve(config_path).unwrap_or_else(|_| config_path.to_owned());
        let path = beside(&resolved, SUFFIX);
        let note = match trusted::read(&path, &resolved) {
            Ok(content) => {
                let bad = |what: String| KeeperError::Note { path: path.clone(), what };
                let page: Page =
                    serde_json::from_slice(&content).map_err(|e| bad(e.to_string()))?;
                page.read().map_err(bad)?
            }
            Err(e) if e.kind() == ErrorKind::NotFound => RestartNote::default(),
            Err(e) => return Err(unreadable(e, path)),
        };
        Ok(Notebook { path, note: RefCell::new(note) })
    }

    pub fn note(&self) -> RestartNote {
        self.note.borrow().clone()
    }

    /// On the disk before this returns.
    pub fn keep(&self, note: &RestartNote) -> Result<(), KeeperError> {
        let bad = |what: String| KeeperError::Note { path: self.path.clone(), what };
        let page = Page::of(note).map_err(bad)?;
        let text = serde_json::to_string(&page).map_err(|e| bad(e.to_string()))? + "\n";
        let attributes = Attributes { mode: MODE, owner: None };
        atomic::write(&self.path, text.as_bytes(), attributes, || Ok(()))
            .map_err(KeeperError::File)?;
        *self.note.borrow_mut() = note.clone();
        Ok(())
    }
}

/// To delete what only another user may read would lose what that one has to finish.
fn unreadable(error: io::Error, path: PathBuf) -> KeeperError {
    match error.kind() {
        ErrorKind::PermissionDenied => KeeperError::NoteDenied { path },
        _ => KeeperError::Note { what: error.to_string(), path },
    }
}

/// The note in its written form; tables as the text that they have in pgpool.conf.
#[derive(Serialize, Deserialize)]
struct Page {
    under_way: Option<UnderWayPage>,
    failed: Option<FailedPage>,
    began: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct UnderWayPage {
    back: bool,
    from: LayoutPage,
    to: LayoutPage,
    status_file: Option<String>,
    why_back: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct FailedPage {
    with: String,
    why: String,
}

#[derive(Serialize, Deserialize)]
struct LayoutPage {
    table: String,
    attached: Vec<usize>,
}

impl Page {
    fn of(note: &RestartNote) -> Result<Page, String> {
        let under_way = note.under_way.as_ref().map(|it| {
            Ok::<_, String>(UnderWayPage {
                back: it.stage == Stage::Back,
                from: LayoutPage::of(&it.from)?,
                to: LayoutPage::of(&it.to)?,
                status_file: it.status_file.clone(),
                why_back: it.why_back.clone(),
            })
        });
        let failed = note
            .failed
            .as_ref()
            .map(|f| Ok::<_, String>(FailedPage { with: text(&f.with)?, why: f.why.clone() }));
        Ok(Page {
            under_way: under_way.transpose()?,
            failed: failed.transpose()?,
            began: note.began.clone(),
        })
    }

    fn read(self) -> Result<RestartNote, String> {
        let under_way = self.under_way.map(|it| {
            Ok::<_, String>(UnderWay {
                stage: if it.back { Stage::Back } else { Stage::Forth },
                from: it.from.read()?,
                to: it.to.read()?,
                status_file: it.status_file,
                why_back: it.why_back,
            })
        });
        let failed =
            self.failed.map(|f| Ok::<_, String>(Failed { with: parse(&f.with)?, why: f.why }));
        Ok(RestartNote {
            under_way: under_way.transpose()?,
            failed: failed.transpose()?,
            began: self.began,
        })
    }
}

impl LayoutPage {
    fn of(layout: &Layout) -> Result<LayoutPage, String> {
        let attached = layout.attached.iter().map(|s| s.get()).collect();
        Ok(LayoutPage { table: text(&layout.table)?, attached })
    }

    fn read(self) -> Result<Layout, String> {
        let slot = |n: usize| SlotIndex::new(n).ok_or_else(|| format!("there is no slot {n}"));
        let attached = self.attached.into_iter().map(slot).collect::<Result<_, _>>()?;
        Ok(Layout { table: parse(&self.table)?, attached })
    }
}

fn text(table: &SlotTable) -> Result<String, String> {
    table::render(table, SLOTS_MAX).map_err(|e| e.to_string())
}

fn parse(text: &str) -> Result<SlotTable, String> {
    table::read(text.as_bytes()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn another_user_may_read_it_or_is_told_who_may() {
        let home = std::env::temp_dir().join(format!("geo-agent-notebook-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let conf = home.join("pgpool.conf");
        fs::write(&conf, "").unwrap();
        let note = RestartNote { began: vec![7], ..RestartNote::default() };
        Notebook::open(&conf).unwrap().keep(&note).unwrap();
        let path = home.join("pgpool.conf.geo-agent.restart");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(Notebook::open(&conf).unwrap().note(), note);
        fs::set_permissions(&path, Permissions::from_mode(0o0)).unwrap();
        let denied = match Notebook::open(&conf) {
            Err(denied) => denied,
            Ok(_) => unreadable(io::Error::from(ErrorKind::PermissionDenied), path), // root may
        };
        let sentence = "geo-agent.restart may not be read by this user: run geo-agent as pgpool's";
        assert!(denied.to_string().contains(sentence), "{denied}");
        fs::remove_dir_all(&home).unwrap();
    }
}
