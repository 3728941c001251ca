//! A line to a server that can be cut, and that can fall silent without being cut.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections are open and nothing gets through.
    Silent,
    /// Connections are closed, new ones too.
    Cut,
}

pub struct Wire {
    host: String,
    state: watch::Sender<State>,
}

impl Wire {
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (state, seen) = watch::channel(State::Whole);
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (seen, server) = (seen.clone(), server.clone());
                tokio::spawn(async move {
                    let _ = carry(near, &server, seen).await;
                });
            }
        });
        Wire { host, state }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn carry(
    mut near: TcpStream,
    server: &str,
    mut state: watch::Receiver<State>,
) -> std::io::Result<()> {
    let now = *state.borrow_and_update();
    match now {
        State::Cut => return Ok(()),
        State::Silent => {}
        State::Whole => {
            let mut far = TcpStream::connect(server).await?;
            tokio::select! {
                done = copy_bidirectional(&mut near, &mut far) => return done.map(drop),
                _ = state.changed() => {}
            }
        }
    }
    // Silent for the rest of its days, which end with the next cut.
    let cut = state.wait_for(|s| *s == State::Cut);
    let _ = cut.await;
    near.shutdown().await?;
    let _ = near.read(&mut [0; 1]).await;
    Ok(())
}
