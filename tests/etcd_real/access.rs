//! Who may read: logins, roles, tokens that expire, certificates.

use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use geo_agent::config::settings::{Etcd, Login, Secret, Tls};
use geo_agent::patroni::Seen;
use geo_agent::patroni::error::EtcdError;
use geo_agent::patroni::read::read_once;
use tokio::time::{sleep, timeout};

use super::server::{Server, certificates};
use super::{SECOND, fill, follow, key, leader, settings, until_leader};

fn login(password: &str) -> Option<Login> {
    Some(Login { username: "geo".into(), password: Secret::new(password) })
}

/// A user that may read the scope and nothing else, and auth switched on.
pub async fn with_auth(server: &Server) -> Client {
    let mut client = server.client().await;
    fill(&mut client).await;
    client.user_add("root", "r", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    for (user, start, end) in
        [("geo", "/service/main/", "/service/main0"), ("other", "/other/", "/other0")]
    {
        client.user_add(user, "secret", None).await.unwrap();
        client.role_add(user).await.unwrap();
        let permission = Permission::new(PermissionType::Read, start).with_range_end(end);
        client.role_grant_permission(user, permission).await.unwrap();
        client.user_grant_role(user, user).await.unwrap();
    }
    client.auth_enable().await.unwrap();
    let options = ConnectOptions::new().with_user("root", "r").with_auto_token_refresh(true);
    Client::connect([server.host()], Some(options)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn a_login_that_may_only_read_the_scope_is_enough() {
    let server = Server::start(&["--auth-token-ttl", "2"]).await;
    let mut root = with_auth(&server).await;
    let good = Etcd { login: login("secret"), ..settings(&[server.host()]) };
    let mut seen = follow(&good);
    until_leader(&mut seen, Some("a"), SECOND).await;
    root.put(key("leader"), "b", None).await.unwrap();
    until_leader(&mut seen, Some("b"), SECOND).await;
    // Past the token's end and past a check.
    for name in ["c", "d"] {
        sleep(12 * SECOND).await;
        root.put(key("leader"), name, None).await.unwrap();
        let took = until_leader(&mut seen, Some(name), SECOND).await;
        println!("after the token expired: put acknowledged -> seen {took:?}");
    }
    assert_eq!(leader(&seen).as_deref(), Some("d"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn a_login_that_is_wrong_is_told_what_is_wrong() {
    let server = Server::start(&[]).await;
    let _root = with_auth(&server).await;
    let open = settings(&[server.host()]);
    let error = async |settings: Etcd| {
        let EtcdError::NoEndpoint(each) = read_once(&settings).await.unwrap_err() else { panic!() };
        each[0].1.clone()
    };
    let wrong = error(Etcd { login: login("wrong-pass"), ..open.clone() }).await;
    assert!(matches!(wrong, EtcdError::Login(_)), "{wrong}");
    assert!(!wrong.to_string().contains("wrong-pass"));
    let none = error(open.clone()).await;
    assert!(matches!(none, EtcdError::Login(_)), "{none}");
    let other = Login { username: "other".into(), password: Secret::new("secret") };
    let forbidden = error(Etcd { login: Some(other.clone()), ..open.clone() }).await;
    assert!(forbidden.to_string().contains("read /service/main/ /service/main0"), "{forbidden}");
    let mut seen = follow(&Etcd { login: Some(other), ..open });
    seen.changed().await.unwrap();
    let Seen::Unknown { why, .. } = seen.borrow().clone() else { panic!("known") };
    assert!(why.contains("grant-permission"), "{why}");
    println!("{why}\n{wrong}\n{none}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary and openssl"]
async fn tls_with_client_certificates_that_are_rotated() {
    let dir = certificates();
    let file = |name: &str| dir.path().join(name);
    let text = |name: &str| file(name).to_str().unwrap().to_owned();
    let mut server =
        Server::start_tls(&text("ca.pem"), &text("server.pem"), &text("server.key")).await;
    let tls =
        Tls { ca: Some(file("ca.pem")), client: Some((file("client.pem"), file("client.key"))) };
    let good = Etcd { tls: Some(tls.clone()), ..settings(&[server.host()]) };
    let view = read_once(&good).await.unwrap();
    assert!(view.members.is_empty());
    let mut seen = follow(&good);
    until_leader(&mut seen, None, SECOND).await;

    // From here on only the second client certificate can be read; a new connection picks it up.
    for kind in ["pem", "key"] {
        std::fs::rename(file(&format!("client2.{kind}")), file(&format!("client.{kind}"))).unwrap();
    }
    server.kill();
    server.start_again().await;
    timeout(8 * SECOND, async {
        while read_once(&good).await.is_err() {
            sleep(SECOND / 10).await;
        }
    })
    .await
    .unwrap();

    for (tls, says) in [
        (Some(Tls { ca: Some(file("other-ca.pem")), ..tls.clone() }), "certificate"),
        // In TLS 1.3 the server says so after the handshake, if it gets to say it.
        (Some(Tls { client: None, ..tls.clone() }), "cannot reach etcd"),
        (Some(Tls { ca: Some(file("none.pem")), ..tls.clone() }), "cannot read"),
        (Some(Tls { ca: Some(file("client.key")), ..tls.clone() }), "certificate"),
        (None, "cannot reach etcd"),
    ] {
        let error = read_once(&Etcd { tls, ..good.clone() }).await.unwrap_err().to_string();
        println!("{error}");
        assert!(error.to_lowercase().contains(says), "{error}");
    }
}
