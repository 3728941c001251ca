//! The probe against little servers that behave as PostgreSQL does on its better and worse days.

mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use geo_agent::config::settings::{Login, Probe, Secret, SslMode};
use geo_agent::model::ids::Address;
use geo_agent::model::reach::Answer;
use geo_agent::probe::SqlProber;
use geo_agent::seams::Prober;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, spawn_local};

use support::postgres::{LOGGED_IN, error, first_message, row};

/// What a little server does with each connection.
#[derive(Clone, Copy)]
enum Manner {
    /// Takes the connection and says nothing, as a stopped process or a frozen host does.
    Silent,
    ClosesAtOnce,
    /// Answers the first message with an error of this code.
    Refuses(&'static str),
    /// Logs in without a password; `pg_is_in_recovery()` is this.
    Answers(&'static str),
    /// Logs in, then says nothing.
    StallsAfterLogin,
    /// Logs in, then is shut down.
    DiesAfterLogin,
    /// Asks for a password.
    AsksForPassword,
    /// Is not PostgreSQL at all.
    Http,
    /// Claims an error of four gigabytes.
    Boasts,
    /// Says yes to TLS and then talks nonsense; without TLS it answers.
    BrokenTls,
}
use Manner::*;

type Heard = Rc<RefCell<Vec<String>>>;

struct Server {
    address: Address,
    listener: JoinHandle<()>,
    /// What each connection said: its first message, then the types of the others.
    heard: Heard,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn server(manner: Manner) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let log = heard.clone();
    let listener = spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = log.clone();
            // A prober that hangs up is no failure of the server's.
            spawn_local(async move { serve(stream, manner, &log).await.ok() });
        }
    });
    Server { address: Address::new("127.0.0.1", port.into()).unwrap(), listener, heard }
}

async fn serve(mut stream: TcpStream, manner: Manner, log: &Heard) -> std::io::Result<()> {
    match manner {
        Silent => {
            let _ = stream.read(&mut [0; 64]).await?;
            std::future::pending::<()>().await;
        }
        ClosesAtOnce => return Ok(()),
        _ => {}
    }
    let mut first = first_message(&mut stream).await?;
    if first == [4, 210, 22, 47] {
        log.borrow_mut().push("SSLRequest".to_owned());
        if let BrokenTls = manner {
            return stream.write_all(b"Snonsense, all of it").await;
        }
        stream.write_all(b"N").await?;
        first = first_message(&mut stream).await?;
    }
    log.borrow_mut().push(String::from_utf8_lossy(&first[4..]).replace('\0', " "));
    match manner {
        Refuses(code) => return stream.write_all(&error(code)).await,
        AsksForPassword => return stream.write_all(b"R\0\0\0\x08\0\0\0\x03").await,
        Http => return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
        Boasts => return stream.write_all(b"E\xff\xff\xff\xffx").await,
        _ => stream.write_all(LOGGED_IN).await?,
    }
    loop {
        let tag = stream.read_u8().await?;
        let length = stream.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await?;
        log.borrow_mut().push(char::from(tag).to_string());
        match (tag, manner) {
            (b'Q', StallsAfterLogin) => std::future::pending::<()>().await,
            (b'Q', DiesAfterLogin) => return stream.write_all(&error("57P01")).await,
            (b'Q', Answers(value)) => stream.write_all(&row(value)).await?,
            (b'Q', _) => stream.write_all(&row("f")).await?,
            _ => return Ok(()),
        }
    }
}

fn probe(sslmode: SslMode) -> Probe {
    Probe {
        login: Login { username: "geo".to_owned(), password: Secret::new("") },
        dbname: "postgres".to_owned(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(300),
        failure_threshold: 3,
        sslmode,
    }
}

async fn ask(prober: &SqlProber, address: &Address) -> Answer {
    let found = prober.ask(&BTreeSet::from([address.clone()])).await;
    found.of(address).expect("every server is answered for").clone()
}

/// A single-threaded runtime, as the daemon has.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::Writable => "writable",
        Answer::ReadOnly => "read only",
        Answer::Alive(_) => "alive",
        Answer::Dead(_) => "dead",
        Answer::Unreachable(_) => "unreachable",
        Answer::Hung(_) => "hung",
    }
}

#[test]
fn with_a_user_the_answer_is_what_sql_says() {
    run(async {
        for (manner, expected) in [
            (Answers("f"), "writable"),
            (Answers("t"), "read only"),
            (Answers("x"), "alive"),
            (Refuses("57P03"), "dead"),
            (Refuses("57P01"), "dead"),
            (Refuses("57P02"), "dead"),
            (Refuses("53300"), "alive"),
            (Refuses("28P01"), "alive"),
            (Refuses("28000"), "alive"),
            (Refuses("XX000"), "alive"),
            (AsksForPassword, "alive"),
            (DiesAfterLogin, "dead"),
            (ClosesAtOnce, "dead"),
            (Silent, "hung"),
            (StallsAfterLogin, "hung"),
            (Http, "alive"),
        ] {
            for sslmode in [SslMode::Disable, SslMode::Prefer] {
                let server = server(manner).await;
                let prober = SqlProber::new(Some(&probe(sslmode.clone()))).unwrap();
                let answer = ask(&prober, &server.address).await;
                assert_eq!(kind(&answer), expected, "{sslmode:?}: {answer:?}");
            }
        }
    });
}

#[test]
fn without_a_user_any_sign_of_life_will_do() {
    run(async {
        for (manner, expected) in [
            (Answers("f"), "alive"),
            (AsksForPassword, "alive"),
            (Refuses("57P03"), "dead"),
            (Refuses("57P01"), "dead"),
            (Refuses("53300"), "alive"),
            (Refuses("28000"), "alive"),
            (ClosesAtOnce, "dead"),
            (Silent, "hung"),
            (Http, "alive"),
            (Boasts, "alive"),
        ] {
            let server = server(manner).await;
            let answer = ask(&SqlProber::new(None).unwrap(), &server.address).await;
            assert_eq!(kind(&answer), expected, "{answer:?}");
            assert!(!format!("{answer:?}").contains('\x1b'));
        }
    });
}

#[test]
fn a_refused_connection_is_dead_and_an_unknown_name_is_not() {
    run(async {
        let refused = server(Silent).await;
        refused.listener.abort();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let nameless = Address::new("no-such-host.invalid", 5432).unwrap();
        for prober in
            [SqlProber::new(None).unwrap(), SqlProber::new(Some(&probe(SslMode::Prefer))).unwrap()]
        {
            assert_eq!(kind(&ask(&prober, &refused.address).await), "dead");
            assert_eq!(kind(&ask(&prober, &nameless).await), "unreachable");
        }
    });
}

#[test]
fn all_are_asked_at_once() {
    run(async {
        let servers = [server(Silent).await, server(Silent).await, server(Answers("f")).await];
        let asked: BTreeSet<Address> = servers.iter().map(|s| s.address.clone()).collect();
        let prober = SqlProber::new(Some(&probe(SslMode::Disable))).unwrap();
        let start = Instant::now();
        let found = prober.ask(&asked).await;
        assert!(start.elapsed() < Duration::from_millis(550), "{:?}", start.elapsed());
        assert_eq!(found.answers.len(), 3);
        let near = |took: &Duration| !took.is_zero() && *took < Duration::from_millis(250);
        assert!(found.round_trips.values().filter(|took| near(took)).count() == 3, "{found:?}");
        assert_eq!(found.of(&servers[2].address), Some(&Answer::Writable));
        assert!(prober.ask(&BTreeSet::new()).await.answers.is_empty());
    });
}

#[test]
fn a_session_says_who_it_is_and_says_goodbye() {
    run(async {
        let server = server(Answers("f")).await;
        let prober = SqlProber::new(Some(&probe(SslMode::Prefer))).unwrap();
        assert_eq!(ask(&prober, &server.address).await, Answer::Writable);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let log = server.heard.borrow();
        assert_eq!(log[0], "SSLRequest");
        assert!(
            log[1].contains("user geo database postgres application_name geo-agent"),
            "{log:?}"
        );
        assert_eq!(log[2..], ["Q", "X"]);
    });
}

#[test]
fn sslmode_decides_what_happens_without_tls() {
    run(async {
        for (manner, sslmode, expected) in [
            (Answers("f"), SslMode::Require, "alive"),
            (BrokenTls, SslMode::Require, "alive"),
            (BrokenTls, SslMode::Prefer, "writable"),
            (BrokenTls, SslMode::Disable, "writable"),
        ] {
            let server = server(manner).await;
            let prober = SqlProber::new(Some(&probe(sslmode.clone()))).unwrap();
            let answer = ask(&prober, &server.address).await;
            assert_eq!(kind(&answer), expected, "{sslmode:?}: {answer:?}");
        }
    });
}

#[test]
fn a_ca_file_that_is_none_is_refused_at_once() {
    for (path, text) in [("nowhere.pem", "not a PEM file"), ("Cargo.toml", "no certificate")] {
        let error = SqlProber::new(Some(&probe(SslMode::VerifyFull(PathBuf::from(path)))));
        let error = error.err().expect("an error").to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn a_round_trip_is_one_connection_and_says_nothing_of_who_takes_none() {
    run(async {
        let (silent, refused) = (server(Silent).await, server(Silent).await);
        refused.listener.abort();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let asked = BTreeSet::from([silent.address.clone(), refused.address.clone()]);
        let prober = SqlProber::new(Some(&probe(SslMode::Disable))).unwrap();
        let found = prober.round_trips(&asked).await;
        assert_eq!(found.keys().collect::<Vec<_>>(), [&silent.address]);
        assert!(found[&silent.address] < Duration::from_millis(250), "{found:?}");
    });
}
