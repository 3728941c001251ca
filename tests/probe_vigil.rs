//! The watch of pgpool's primary, against a little server whose mood changes.

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use geo_agent::config::settings::{Login, Probe, Secret, SslMode};
use geo_agent::model::ids::Address;
use geo_agent::model::reach::Loss;
use geo_agent::probe::{SqlProber, vigil};
use geo_agent::seams::Prober;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use support::postgres::{LOGGED_IN, error, first_message, row};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Serves,
    /// Says goodbye to its sessions and turns new ones away with 57P03.
    ShutsDown,
    /// Ends its sessions, and takes new ones.
    EndsSessions,
    /// Takes everything and answers nothing.
    Silent,
    /// Ends its sessions and refuses every login: too many connections.
    Full,
    /// Serves, in recovery.
    Recovers,
}
use Mood::*;

/// A timeout is short here, so that silence is; the pause between two questions is a half.
const TIMEOUT: Duration = Duration::from_millis(200);

struct Server {
    address: Address,
    mood: Rc<Cell<Mood>>,
    changed: Rc<Notify>,
    sessions: Rc<Cell<usize>>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mood, changed) = (Rc::new(Cell::new(Serves)), Rc::new(Notify::new()));
        let sessions = Rc::new(Cell::new(0));
        let address = Address::new("127.0.0.1", port.into()).unwrap();
        let server = Server { address, mood, changed, sessions };
        let (mood, changed) = (server.mood.clone(), server.changed.clone());
        let sessions = server.sessions.clone();
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mood, changed) = (mood.clone(), changed.clone());
                let sessions = sessions.clone();
                spawn_local(async move {
                    sessions.set(sessions.get() + 1);
                    serve(stream, &mood, &changed).await.ok();
                    sessions.set(sessions.get() - 1);
                });
            }
        });
        server
    }

    fn becomes(&self, mood: Mood) {
        self.mood.set(mood);
        self.changed.notify_waiters();
    }

    /// The watch of this server, and what it says.
    fn watched(&self) -> (watch::Sender<Option<Address>>, watch::Receiver<Option<Loss>>) {
        let (name, watched) = watch::channel(Some(self.address.clone()));
        let (tell, lost) = watch::channel(None);
        let prober = SqlProber::new(Some(&probe())).unwrap();
        spawn_local(async move { vigil::keep(&prober, watched, tell).await });
        (name, lost)
    }
}

async fn serve(mut stream: TcpStream, mood: &Cell<Mood>, changed: &Notify) -> std::io::Result<()> {
    first_message(&mut stream).await?;
    match mood.get() {
        Serves | Recovers | EndsSessions => stream.write_all(LOGGED_IN).await?,
        ShutsDown => return stream.write_all(&error("57P03")).await,
        Full => return stream.write_all(&error("53300")).await,
        Silent => return deaf(stream).await,
    }
    loop {
        let tag = tokio::select! {
            tag = stream.read_u8() => tag?,
            () = changed.notified() => match mood.get() {
                Serves | Recovers => continue,
                Silent => return deaf(stream).await,
                ShutsDown | EndsSessions | Full => return stream.write_all(&error("57P01")).await,
            },
        };
        let length = stream.read_u32().await?;
        stream.read_exact(&mut vec![0; length as usize - 4]).await?;
        match tag {
            b'Q' if mood.get() == Recovers => stream.write_all(&row("t")).await?,
            b'Q' => stream.write_all(&row("f")).await?,
            _ => return Ok(()),
        }
    }
}

/// Until the other side has had enough.
async fn deaf(mut stream: TcpStream) -> std::io::Result<()> {
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

fn probe() -> Probe {
    Probe {
        login: Login { username: "geo".to_owned(), password: Secret::new("") },
        dbname: "postgres".to_owned(),
        interval: TIMEOUT,
        timeout: TIMEOUT,
        failure_threshold: 3,
        sslmode: SslMode::Disable,
    }
}

/// A single-threaded runtime, as the daemon has.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

const LONG: Duration = Duration::from_secs(10);
/// Long enough for a watch to make up its mind.
const A_WHILE: Duration = Duration::from_millis(1_500);

#[test]
fn a_goodbye_is_told_and_a_return_too() {
    run(async {
        let server = Server::start().await;
        let (_name, mut lost) = server.watched();
        sleep(TIMEOUT).await;
        assert_eq!((server.sessions.get(), lost.borrow().clone()), (1, None), "one held session");
        server.becomes(ShutsDown);
        timeout(LONG, lost.changed()).await.expect("it is told").unwrap();
        let loss = lost.borrow_and_update().clone().expect("a loss");
        assert_eq!(loss.server, server.address);
        assert!(loss.why.contains("57P03"), "{}", loss.why);
        server.becomes(Serves);
        timeout(LONG, lost.changed()).await.expect("it is told").unwrap();
        assert_eq!(*lost.borrow(), None);
    });
}

#[test]
fn silence_is_told_after_as_many_timeouts_as_the_threshold_says() {
    run(async {
        let server = Server::start().await;
        let (_name, mut lost) = server.watched();
        sleep(TIMEOUT).await;
        let fell_silent = std::time::Instant::now();
        server.becomes(Silent);
        timeout(LONG, lost.changed()).await.expect("it is told").unwrap();
        // Its last answer may be as old as the pause between two questions.
        let since_its_last_answer = fell_silent.elapsed() + TIMEOUT / 2;
        assert!(since_its_last_answer >= TIMEOUT * 3, "after {:?}", fell_silent.elapsed());
        assert!(lost.borrow().is_some());
    });
}

#[test]
fn short_silence_and_ended_sessions_are_no_loss() {
    run(async {
        let server = Server::start().await;
        let (_name, lost) = server.watched();
        sleep(TIMEOUT).await;
        for mood in [EndsSessions, Silent, Full, Serves] {
            server.becomes(mood);
            sleep(if mood == Silent { TIMEOUT } else { A_WHILE }).await;
            assert!(!lost.has_changed().unwrap(), "{mood:?}: {:?}", lost.borrow());
        }
        assert_eq!(server.sessions.get(), 1, "a session is held again");
    });
}

#[test]
fn whoever_is_named_next_is_watched_instead() {
    run(async {
        let (one, other) = (Server::start().await, Server::start().await);
        let (name, mut lost) = one.watched();
        sleep(TIMEOUT).await;
        one.becomes(ShutsDown);
        timeout(LONG, lost.changed()).await.expect("it is told").unwrap();
        name.send_replace(Some(other.address.clone()));
        timeout(LONG, lost.changed()).await.expect("the old loss is taken back").unwrap();
        assert_eq!(*lost.borrow_and_update(), None);
        sleep(TIMEOUT).await;
        assert_eq!((one.sessions.get(), other.sessions.get()), (0, 1));
        name.send_replace(None);
        sleep(TIMEOUT).await;
        assert_eq!(other.sessions.get(), 0, "nobody is watched");
    });
}

#[test]
fn a_leader_in_recovery_is_asked_over_one_session_until_it_is_writable() {
    run(async {
        let server = Server::start().await;
        server.becomes(Recovers);
        let prober = SqlProber::new(Some(&probe())).unwrap();
        let asked = Cell::new(0);
        let pause = || {
            asked.set(asked.get() + 1);
            Duration::from_millis(5)
        };
        let writable = prober.until_writable(&server.address, &pause);
        let events = async {
            sleep(TIMEOUT).await;
            assert_eq!(server.sessions.get(), 1, "one session");
            assert!(asked.get() > 3, "asked {} times", asked.get());
            server.becomes(ShutsDown); // and up again: another session
            sleep(TIMEOUT).await;
            server.becomes(Recovers);
            sleep(TIMEOUT).await;
            server.becomes(Serves);
            sleep(LONG).await;
        };
        tokio::select! {
            () = writable => assert_eq!(server.mood.get(), Serves),
            () = events => panic!("it was not told"),
        }
    });
}

/// What `plan` and `apply` ask, who have nobody to watch for them.
#[test]
fn a_single_question_is_as_sure() {
    run(async {
        let server = Server::start().await;
        let prober = SqlProber::new(Some(&probe())).unwrap();
        assert_eq!(prober.is_lost(&server.address).await, None);
        server.becomes(Full);
        assert_eq!(prober.is_lost(&server.address).await, None);
        server.becomes(ShutsDown);
        assert!(prober.is_lost(&server.address).await.is_some());
        server.becomes(Silent);
        assert!(prober.is_lost(&server.address).await.is_some());
        let nobody = prober.ask(&BTreeSet::new()).await;
        assert!(nobody.answers.is_empty());
    });
}
