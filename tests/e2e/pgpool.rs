//! One pgpool with its agent: what pgpool itself says, and what the agent's commands say.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::clients;
use super::cluster::ip_of;
use super::docker::{Container, Output, eventually, is};

pub const CONF: &str = "/etc/pgpool2/pgpool.conf";
pub const CONFIG: &str = "/etc/geo-agent/config.yaml";
/// What an operator does after a change of the agent's file.
pub const RELOAD: &str = "pkill -HUP -f '^geo-agent run' || true";
const ETCD: &str = "OUTPUT -p tcp --dport 2379";

/// One line of `pcp_node_info`.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub host: String,
    pub port: u16,
    pub up: bool,
    /// pgpool's normalised share of reads.
    pub share: f64,
    pub primary: bool,
}

impl Node {
    /// `host port status weight status_name pg_status role …` since 4.3.
    fn parse(line: &str) -> Option<Node> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [host, port, status, share, _, _, role, ..] = fields[..] else { return None };
        Some(Node {
            host: host.to_owned(),
            port: port.parse().ok()?,
            up: matches!(status, "1" | "2"),
            share: share.parse().ok()?,
            primary: role == "primary",
        })
    }
}

/// How a slot is to be filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub primary: Ipv4Addr,
    /// Who has a share of the reads.
    pub readers: Vec<Ipv4Addr>,
}

impl Shape {
    pub fn new(primary: &str, readers: &[&str]) -> Shape {
        let ip = |m: &&str| ip_of(m).unwrap_or_else(|| panic!("{m} has no address"));
        let mut readers: Vec<_> = readers.iter().map(ip).collect();
        readers.sort();
        Shape { primary: ip(&primary), readers }
    }
}

#[derive(Clone)]
pub struct Pgpool {
    pub container: Container,
}

impl Pgpool {
    pub fn eu() -> Pgpool {
        Pgpool { container: Container::of("pgpool-eu") }
    }

    pub fn us() -> Pgpool {
        Pgpool { container: Container::of("pgpool-us") }
    }

    pub fn both() -> [Pgpool; 2] {
        [Pgpool::eu(), Pgpool::us()]
    }

    pub fn ip(&self) -> Ipv4Addr {
        self.container.ip().expect("pgpool's container runs")
    }

    /// pgpool's own word, over PCP's UNIX socket or, without it, over TCP.
    pub fn pcp(&self, command: &str) -> Output {
        let ask =
            |host| self.container.exec(&[command, "-w", "-h", host, "-p", "9898", "-U", "pcp"]);
        let output = ask("/var/run/postgresql");
        if output.status == 0 { output } else { ask("127.0.0.1") }
    }

    pub fn nodes(&self) -> Result<Vec<Node>, String> {
        let output = self.pcp("pcp_node_info");
        is(output.status == 0, output.all())?;
        let nodes = output.out.lines().filter(|l| !l.trim().is_empty());
        nodes.map(|l| Node::parse(l).ok_or_else(|| format!("cannot read {l:?}"))).collect()
    }

    /// Attached are the primary and the readers and nobody else, and only readers get reads.
    pub fn has(&self, shape: &Shape) -> Result<(), String> {
        let nodes = self.nodes()?;
        let up = || nodes.iter().filter(|n| n.up);
        let wants_up = |ip: &str| {
            shape.primary.to_string() == ip || shape.readers.iter().any(|r| r.to_string() == ip)
        };
        let reads = |n: &Node| shape.readers.iter().any(|r| r.to_string() == n.host);
        let everybody = shape.readers.iter().chain([&shape.primary]);
        let primary = nodes.iter().find(|n| n.primary).map(|n| n.host.clone());
        let right = primary == Some(shape.primary.to_string())
            && up().all(|n| wants_up(&n.host) && (n.share > 0.0) == reads(n))
            && everybody.into_iter().all(|ip| up().any(|n| n.host == ip.to_string()));
        is(right, format!("{}: {nodes:#?}, and not {shape:?}", self.container.service))
    }

    /// pgpool takes this shape in time, and clients find it so.
    pub fn takes(&self, primary: &str, readers: &[&str]) {
        let shape = Shape::new(primary, readers);
        let what = format!("{} with {primary} and {readers:?}", self.container.service);
        eventually(&what, 45, || self.has(&shape));
        self.serves(&shape);
    }

    /// Writes reach the primary, reads exactly the readers.
    pub fn serves(&self, shape: &Shape) {
        let ip = self.ip();
        let name = &self.container.service;
        eventually(&format!("a write through {name}"), 20, || {
            let at = clients::write(ip)?;
            is(at == shape.primary, format!("written at {at}, and not at {}", shape.primary))
        });
        let mut seen = Vec::new();
        eventually(&format!("reads through {name} at {:?}", shape.readers), 20, || {
            let at = clients::read(ip)?;
            assert!(shape.readers.contains(&at), "{name} reads at {at}, none of {shape:?}");
            if !seen.contains(&at) {
                seen.push(at);
            }
            is(seen.len() == shape.readers.len(), &seen)
        });
    }

    /// The oldest of its processes.
    pub fn pid(&self) -> String {
        self.container.exec(&["pgrep", "-o", "-x", "pgpool"]).out.trim().to_owned()
    }

    pub fn agent(&self, args: &[&str]) -> Output {
        self.container.exec_as_postgres(&[&["geo-agent"], args].concat())
    }

    /// `plan --output json` with its exit status.
    pub fn plan(&self) -> (i32, Value) {
        json(self.agent(&["plan", "--output", "json"]))
    }

    pub fn status(&self) -> (i32, Value) {
        json(self.agent(&["status", "--output", "json"]))
    }

    /// Starts a damaged pgpool anew, and says whether it was one.
    pub fn mend(&self) -> bool {
        let damaged = self.is_damaged();
        if damaged {
            // proto-notes/hazards.md, 12
            println!("  pgpool had lost its pid file and its sockets: started anew");
            self.container.shell("pgpool-restart");
        }
        damaged
    }

    pub fn is_damaged(&self) -> bool {
        let gone = "test ! -e /var/run/postgresql/pgpool.pid && echo damaged || true";
        self.container.shell(gone).contains("damaged")
    }

    /// The agent agrees that there is nothing to do.
    pub fn is_in_sync(&self) -> Result<(), String> {
        let (code, plan) = self.plan();
        let empty = plan["changes"] == false && plan["disruption"] == "none";
        is(code == 0 && empty && plan["holds"] == Value::Array(Vec::new()), (code, &plan))?;
        let (code, status) = self.status();
        is(code == 0 && status["in_sync"] == true, (code, &status))
    }

    pub fn stop_agent(&self) {
        self.container.shell("agent-stop");
    }

    pub fn start_agent(&self) {
        self.container.shell("agent-start");
    }

    /// Gives the agent this list of tiers, or none, as an operator does: in its file, with a reload.
    pub fn set_locations(&self, list: &str) {
        let add = match list {
            "" => String::new(),
            list => format!("echo 'locations: {list}' >>$f;"),
        };
        self.container.shell(&format!(
            "f=/etc/geo-agent/config.yaml; sed -i '/^locations:/d' $f; {add} \
             {RELOAD}"
        ));
    }

    /// A reload of the agent: whatever it remembers of the cluster, what it sees now is meant so.
    pub fn reload_agent(&self) {
        self.container.shell(RELOAD);
    }

    pub fn has_locations(&self) -> bool {
        let found = self.container.shell("grep -c ^locations: /etc/geo-agent/config.yaml || true");
        found.trim() != "0"
    }

    pub fn agent_pid(&self) -> String {
        self.container.exec(&["pgrep", "-f", "^geo-agent run"]).out.trim().to_owned()
    }

    /// Nothing from this agent reaches etcd any more; with `reset` its connections end at once,
    /// without they fall silent.
    pub fn cut_from_etcd(&self, reset: bool) {
        let how = if reset { "REJECT --reject-with tcp-reset" } else { "DROP" };
        self.container.shell(&format!("iptables -A {ETCD} -j {how}"));
    }

    /// Nothing from this pgpool and its agent reaches this member any more.
    pub fn cut_from(&self, member: &str) {
        let ip = ip_of(member).expect("the member runs");
        self.container.shell(&format!("iptables -A OUTPUT -d {ip} -j DROP"));
    }

    pub fn heal(&self) {
        self.container.shell("iptables -F");
    }

    pub fn log(&self, lines: u32) -> String {
        self.container.exec(&["tail", "-n", &lines.to_string(), "/var/log/geo-agent.log"]).all()
    }

    pub fn conf(&self) -> String {
        self.container.shell(&format!("cat {CONF}"))
    }
}

fn json(output: Output) -> (i32, Value) {
    let value = serde_json::from_str(&output.out);
    (output.status, value.unwrap_or_else(|e| panic!("not JSON ({e}): {}", output.all())))
}

/// The steps of a plan as `op member`, for assertions that read well.
pub fn steps(plan: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let steps = plan["steps"].as_array().expect("a list of steps");
    let step = |s: &Value| format!("{} {}", text(&s["op"]), text(&s["member"]));
    steps.iter().map(|s| step(s).trim_end().to_owned()).collect()
}
