//! A login, with or without TLS as `sslmode` says, and what its failure says about the server.

use std::error::Error as _;
use std::io;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode as WireMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::{self, Held, Stay};
use super::tls::{self, TlsError};
use super::{dial, sqlstate, told};
use crate::config::settings::{Probe, SslMode};
use crate::model::ids::Address;
use crate::model::reach::Answer;

/// invalid_authorization_specification: what a `hostnossl` or `hostssl` line refuses with.
const NO_PG_HBA_ENTRY: &str = "28000";

/// How to log in; built once.
pub(super) struct Login {
    plain: Config,
    secure: Config,
    /// `None`: sslmode `disable`.
    tls: Option<MakeRustlsConnect>,
    /// sslmode `prefer`: when it does not work with TLS, it may work without.
    or_plain: bool,
}

impl Login {
    pub(super) fn new(probe: &Probe) -> Result<Self, TlsError> {
        let mut config = Config::new();
        config.user(&probe.login.username).dbname(&probe.dbname).application_name("geo-agent");
        if !probe.login.password.reveal().is_empty() {
            config.password(probe.login.password.reveal());
        }
        let (mut plain, mut secure) = (config.clone(), config);
        plain.ssl_mode(WireMode::Disable);
        secure.ssl_mode(match probe.sslmode {
            SslMode::Disable | SslMode::Prefer => WireMode::Prefer,
            SslMode::Require | SslMode::VerifyCa(_) | SslMode::VerifyFull(_) => WireMode::Require,
        });
        let tls = tls::client_config(&probe.sslmode)?.map(MakeRustlsConnect::new);
        Ok(Login { plain, secure, tls, or_plain: probe.sslmode == SslMode::Prefer })
    }

    /// The answer of a server that a connection has been made to: the first, or the one that ended
    /// the session. The caller has the clock for the first.
    pub(super) async fn talk(&self, stream: TcpStream, server: &Address, stay: Stay<'_>) -> Answer {
        let Some(tls) = &self.tls else { return self.talk_plainly(stream, stay).await };
        let peer = stream.peer_addr();
        let error = match self.talk_securely(tls, stream, server, stay).await {
            Ok(answer) => return answer,
            Err(error) => error,
        };
        // As libpq does: a broken handshake, or a pg_hba.conf that does not want TLS.
        let may_help = match error.code() {
            Some(code) => code.code() == NO_PG_HBA_ENTRY,
            None => true,
        };
        if !(self.or_plain && may_help) {
            return answer_of(&error);
        }
        // Where it was: asking for the name again would take of the server's time.
        let Ok(peer) = peer else { return answer_of(&error) };
        match dial::tcp(&[peer]).await {
            Ok(dialled) => self.talk_plainly(dialled.stream, stay).await,
            Err(failure) => failure.into(),
        }
    }

    /// A session that is kept: the answer that ended it.
    pub(super) async fn hold(
        &self,
        stream: TcpStream,
        server: &Address,
        held: &Held<'_>,
    ) -> Answer {
        tokio::select! {
            answer = self.talk(stream, server, Stay::Until(held)) => answer,
            late = held.late() => late,
        }
    }

    async fn talk_plainly(&self, stream: TcpStream, stay: Stay<'_>) -> Answer {
        let talk = async {
            let (client, connection) = self.plain.connect_raw(stream, NoTls).await?;
            session::talk(client, connection, stay).await
        };
        talk.await.unwrap_or_else(|error| answer_of(&error))
    }

    async fn talk_securely(
        &self,
        tls: &MakeRustlsConnect,
        stream: TcpStream,
        server: &Address,
        stay: Stay<'_>,
    ) -> Result<Answer, Error> {
        // The TLS library refuses a name that it cannot put into a ClientHello, an underscore at
        // the wrong place, say; a name that is not verified need not be the real one.
        let name = match ServerName::try_from(server.host()) {
            Ok(_) => server.host(),
            Err(_) => "invalid.invalid",
        };
        let mut maker = tls.clone();
        let connector = match MakeTlsConnect::<TcpStream>::make_tls_connect(&mut maker, name) {
            Ok(connector) => connector,
            Err(never) => match never {},
        };
        let (client, connection) = self.secure.connect_raw(stream, connector).await?;
        session::talk(client, connection, stay).await
    }
}

pub(super) fn answer_of(error: &Error) -> Answer {
    if let Some(by_server) = error.as_db_error() {
        return sqlstate::answer(by_server.code().code(), by_server.message());
    }
    let cause = error.source();
    let text = match cause {
        Some(cause) => told(&format!("{error}: {cause}")),
        None => told(&error.to_string()),
    };
    let broken = cause.and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match broken {
        Some(
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe,
        ) => Answer::Dead(text),
        None if error.is_closed() => Answer::Dead(text),
        _ => Answer::Alive(text),
    }
}
