//! One reading of pgpool: which requests it takes, and what their answers make up.

use std::collections::BTreeMap;

use super::connection::Connection;
use super::error::PcpError;
use super::message::{Generation, NodeInfo, Reply, Request, SessionCount, version};
use crate::model::ids::{SLOTS_MAX, SlotIndex};
use crate::model::pool::{PoolVersion, PoolView, Sessions, Watchdog};
use crate::seams::Ask;

/// pgpool 4.7 has some 150 parameters and 20 more for each slot.
const SETTINGS_MAX: usize = 8192;

/// Children × pooled connections × slots: 2,000 × 4 × 32. Rows are counted, not kept.
const PROCESS_ROWS_MAX: usize = 256_000;

/// How to ask for the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum NodeQuestion {
    /// 4.3 and later.
    #[default]
    AllAtOnce,
    /// Up to 4.2, with the number of nodes that it had.
    OneByOne(u8),
}

/// What a look is to find out.
pub(super) struct Look {
    ask: Ask,
    question: NodeQuestion,
}

/// What a look found. Without a view the question was the wrong one; the next is better.
pub(super) struct Seen {
    pub(super) view: Option<PoolView>,
    pub(super) next_question: NodeQuestion,
}

impl Look {
    pub(super) fn new(ask: Ask, question: NodeQuestion) -> Self {
        Look { ask, question }
    }

    /// Sends everything at once and reads the answers in the same order.
    pub(super) async fn take(&self, connection: &mut Connection<'_>) -> Result<Seen, PcpError> {
        connection.send(&self.requests()).await?;
        let count = node_count(connection).await?;
        let wrong = |next_question| Ok(Seen { view: None, next_question });
        if matches!(self.question, NodeQuestion::OneByOne(expected) if expected != count) {
            return wrong(NodeQuestion::OneByOne(count));
        }
        let mut nodes = Vec::new();
        for request in self.node_requests() {
            match nodes_of(connection, &request).await {
                Ok(more) => nodes.extend(more),
                Err(e) if e.is_refusal_only() && self.question == NodeQuestion::AllAtOnce => {
                    return wrong(NodeQuestion::OneByOne(count));
                }
                Err(e) => return Err(e),
            }
        }
        let generation = nodes.first().map(|n: &NodeInfo| n.generation);
        let view = self.view_of(nodes, generation, connection).await?;
        let next_question = match generation {
            Some(shape) if shape.lists_all() => NodeQuestion::AllAtOnce,
            _ => self.question,
        };
        Ok(Seen { view: Some(view), next_question })
    }

    fn requests(&self) -> Vec<Request<'static>> {
        let Ask { settings, watchdog, sessions } = self.ask;
        let mut requests = vec![Request::NodeCount];
        requests.extend(self.node_requests());
        requests.extend(settings.then_some(Request::Settings));
        requests.extend(watchdog.then_some(Request::Watchdog));
        requests.extend(sessions.then_some(Request::Processes));
        requests.push(Request::Goodbye);
        requests
    }

    fn node_requests(&self) -> Vec<Request<'static>> {
        match self.question {
            NodeQuestion::AllAtOnce => vec![Request::AllNodes],
            NodeQuestion::OneByOne(count) => SlotIndex::all(count).map(Request::Node).collect(),
        }
    }

    async fn view_of(
        &self,
        nodes: Vec<NodeInfo>,
        generation: Option<Generation>,
        connection: &mut Connection<'_>,
    ) -> Result<PoolView, PcpError> {
        let mut view = PoolView {
            nodes: (0..).map_while(SlotIndex::new).zip(nodes.into_iter().map(|n| n.node)).collect(),
            version: generation.map_or(PoolVersion::UpTo41, Generation::oldest_version),
            ..PoolView::default()
        };
        let Ask { settings, watchdog, sessions } = self.ask;
        if settings {
            view.settings = settings_of(connection).await?;
            view.version = version(|name| view.settings.contains_key(name));
        }
        if watchdog {
            view.watchdog = watchdog_of(connection).await?;
        }
        if sessions {
            view.sessions = Some(sessions_of(connection).await?);
        }
        Ok(view)
    }
}

async fn node_count(connection: &mut Connection<'_>) -> Result<u8, PcpError> {
    let request = Request::NodeCount;
    let Reply::NodeCount(count) = connection.reply(&request).await? else {
        return Err(connection.unexpected(&request));
    };
    match u8::try_from(count) {
        Ok(count) if count <= SLOTS_MAX => Ok(count),
        _ => Err(too_many_nodes(connection)),
    }
}

fn too_many_nodes(connection: &Connection<'_>) -> PcpError {
    PcpError::TooMany { during: connection.during(), what: "nodes", max: usize::from(SLOTS_MAX) }
}

/// The answer to one `I`: rows, or up to 4.2 a single packet.
async fn nodes_of(
    connection: &mut Connection<'_>,
    request: &Request<'_>,
) -> Result<Vec<NodeInfo>, PcpError> {
    let announced = match connection.reply(request).await? {
        Reply::Node(node) if !node.generation.lists_all() => return Ok(vec![node]),
        Reply::Rows(announced) => announced,
        _ => return Err(connection.unexpected(request)),
    };
    let mut nodes = Vec::new();
    let mut take = |row| {
        if let Reply::Node(node) = row {
            nodes.push(node);
        }
    };
    let limits = (announced, "nodes", usize::from(SLOTS_MAX));
    connection.rows_after(request, limits, &mut take).await?;
    Ok(nodes)
}

async fn settings_of(
    connection: &mut Connection<'_>,
) -> Result<BTreeMap<String, String>, PcpError> {
    let mut settings = BTreeMap::new();
    let take = |row| {
        if let Reply::Setting(setting) = row
            && !setting.is_secret()
        {
            settings.insert(setting.name, setting.value);
        }
    };
    connection.rows(&Request::Settings, "parameters", SETTINGS_MAX, take).await?;
    Ok(settings)
}

/// `None` where pgpool answers with an error: it runs without a watchdog.
async fn watchdog_of(connection: &mut Connection<'_>) -> Result<Option<Watchdog>, PcpError> {
    match connection.reply(&Request::Watchdog).await {
        Ok(Reply::Watchdog(watchdog)) => Ok(Some(watchdog)),
        Ok(_) => Err(connection.unexpected(&Request::Watchdog)),
        Err(e) if e.is_refusal_only() => Ok(None),
        Err(e) => Err(e),
    }
}

async fn sessions_of(connection: &mut Connection<'_>) -> Result<Sessions, PcpError> {
    let mut count = SessionCount::default();
    let take = |row| {
        if let Reply::Process(row) = row {
            count.add(&row);
        }
    };
    connection.rows(&Request::Processes, "process rows", PROCESS_ROWS_MAX, take).await?;
    Ok(count.finish())
}
