//! The real [`Pool`]: each call is one short connection, and one deadline over all of it. An open
//! connection would block pgpool's main process at the end of a failover (up to 4.4), so none is
//! kept (proto-notes/hazards.md).

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::auth;
use super::connection::Connection;
use super::endpoint::{self, Endpoint};
use super::error::PcpError;
use super::look::{Look, NodeQuestion};
use super::message::{Reply, Request, ShutdownMode};
use crate::config::settings::{Login, Pcp};
use crate::model::pool::PoolView;
use crate::seams::{Ask, Pool, PoolRequest};

/// For one connection, from connecting to the last answer.
///
/// pgpool answers within 10 ms (0.4 s on a loaded host), also during a failover. Node info takes
/// longer where `health_check_period` or `sr_check_period` are on: it then connects to every node
/// first, and waits `connect_timeout` (recommended: 2 to 3 s) for each one that is dead. Smaller
/// would fail there; larger would let a pgpool up to 4.4 be held up longer by this connection.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How often a look may start anew because pgpool's nodes are not those that were asked for.
const LOOK_TRIES_MAX: u32 = 3;

/// A pgpool, over PCP.
#[derive(Debug)]
pub struct PcpClient {
    pcp: Pcp,
    deadline: Duration,
    /// How this pgpool wants to be asked for its nodes, as far as it has shown.
    question: Cell<NodeQuestion>,
    last_endpoint: RefCell<Option<Endpoint>>,
}

impl PcpClient {
    /// `deadline` is for each connection; [`DEADLINE`] is the one to start from.
    pub fn new(pcp: &Pcp, deadline: Duration) -> Self {
        PcpClient {
            pcp: pcp.clone(),
            deadline,
            question: Cell::default(),
            last_endpoint: RefCell::default(),
        }
    }

    /// Where pgpool was reached last; `None` before, and while it cannot be reached.
    pub fn last_endpoint(&self) -> Option<Endpoint> {
        self.last_endpoint.borrow().clone()
    }

    /// Ends pgpool. `Ok` means that it has begun to go down.
    pub async fn shutdown(&self, mode: ShutdownMode) -> Result<(), PcpError> {
        self.batch(&[Request::Shutdown(mode)]).await
    }

    /// Sends requests that change pgpool; each is read to its answer, refused or not.
    async fn batch(&self, requests: &[Request<'_>]) -> Result<(), PcpError> {
        let mut all = requests.to_vec();
        all.push(Request::Goodbye);
        self.converse(async |connection: &mut Connection<'_>| {
            connection.send(&all).await?;
            let mut first_refusal = Ok(());
            for request in requests {
                match connection.reply(request).await {
                    Ok(Reply::Complete) => {}
                    Ok(_) => return Err(connection.unexpected(request)),
                    Err(refusal) if refusal.is_refusal_only() => {
                        first_refusal = first_refusal.and(Err(refusal));
                    }
                    Err(end) => return first_refusal.and(Err(end)),
                }
            }
            first_refusal
        })
        .await
    }

    /// Connects, logs in, talks, closes; all of it before the deadline.
    async fn converse<T>(
        &self,
        talk: impl AsyncFnOnce(&mut Connection<'_>) -> Result<T, PcpError>,
    ) -> Result<T, PcpError> {
        let doing = RefCell::new("connecting".to_owned());
        self.last_endpoint.replace(None);
        let conversation = async {
            let (stream, endpoint) = endpoint::connect(&self.pcp).await?;
            self.last_endpoint.replace(Some(endpoint));
            let mut connection = Connection::new(stream, &doing);
            log_in(&mut connection, &self.pcp.login).await?;
            talk(&mut connection).await
        };
        let in_time = tokio::time::timeout(self.deadline, conversation).await;
        in_time.unwrap_or_else(|_| {
            Err(PcpError::Silent { during: doing.take(), after: self.deadline })
        })
    }
}

impl Pool for PcpClient {
    type Error = PcpError;

    async fn look(&self, ask: Ask) -> Result<PoolView, PcpError> {
        for _ in 0..LOOK_TRIES_MAX {
            let look = Look::new(ask, self.question.get());
            let seen = self.converse(async |c: &mut Connection<'_>| look.take(c).await).await?;
            self.question.set(seen.next_question);
            if let Some(view) = seen.view {
                return Ok(view);
            }
        }
        Err(PcpError::Unsteady)
    }

    async fn send(&self, requests: &[PoolRequest]) -> Result<(), PcpError> {
        if requests.is_empty() {
            return Ok(());
        }
        let requests: Vec<Request<'_>> = requests.iter().map(request).collect();
        self.batch(&requests).await
    }
}

fn request(request: &PoolRequest) -> Request<'static> {
    match *request {
        PoolRequest::Attach(slot) => Request::Attach(slot),
        PoolRequest::Detach(slot) => Request::Detach(slot),
        PoolRequest::Promote(slot) => Request::Promote(slot),
        PoolRequest::Reload => Request::Reload,
    }
}

/// pgpool keeps 128 bytes of a user name, its NUL included.
const USERNAME_LEN_MAX: usize = 127;

async fn log_in(connection: &mut Connection<'_>, login: &Login) -> Result<(), PcpError> {
    let username = login.username.as_str();
    if !(1..=USERNAME_LEN_MAX).contains(&username.len()) || username.contains('\0') {
        return Err(PcpError::UnusableUser);
    }
    connection.send(&[Request::Salt]).await?;
    let Reply::Salt(salt) = connection.reply(&Request::Salt).await? else {
        return Err(connection.unexpected(&Request::Salt));
    };
    let answer = auth::answer(username, login.password.reveal(), salt);
    let request = Request::Login { username, answer: &answer };
    connection.send(&[request]).await?;
    match connection.reply(&request).await {
        Ok(Reply::LoggedIn) => Ok(()),
        Ok(_) => Err(connection.unexpected(&request)),
        Err(PcpError::Refused { source, .. }) => Err(PcpError::Login { source }),
        Err(end) => Err(end),
    }
}
