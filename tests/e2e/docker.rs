//! The test stack's containers, found by their labels, and what is done to them.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(60);

/// What differs from one pgpool version to the next, as data.
pub struct Suite {
    pub name: String,
    /// As `status` names it.
    pub pgpool: &'static str,
    /// What an attach costs sessions, in the contract's words.
    pub attach_ends: &'static str,
    /// Whether a session that runs a statement at that instant survives an attach.
    pub busy_survive: bool,
}

impl Suite {
    pub fn get() -> Suite {
        // No default: these tests are rough with whatever stack they find.
        let name = std::env::var("SUITE").expect("SUITE says which stack: bookworm, trixie, forky");
        let (pgpool, attach_ends, busy_survive) = match name.as_str() {
            "bookworm" => ("4.3", "busy", false),
            "trixie" => ("4.6", "none", true),
            "forky" => ("4.7 or newer", "none", true),
            other => panic!("SUITE={other}: no such stack"),
        };
        Suite { name, pgpool, attach_ends, busy_survive }
    }
}

/// The exit status and what was said.
#[derive(Debug)]
pub struct Output {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Output {
    /// Both streams, for assertions about words.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{program} cannot be started: {e}"));
    Output {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Standard output of a docker command that has to work.
pub fn docker(args: &[&str]) -> String {
    let output = run("docker", args);
    assert_eq!(output.status, 0, "docker {}: {}", args.join(" "), output.all());
    output.out.trim_end().to_owned()
}

/// One verb of scripts/stack, for the same suite.
pub fn script(args: &[&str]) -> Output {
    run(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/stack"), args)
}

/// Somebody else's stack may be up as well: only one that this checkout has started is ours.
pub fn is_our_stack() {
    let label = "{{index .Config.Labels \"com.docker.compose.project.working_dir\"}}";
    let theirs = docker(&["inspect", "-f", label, &Container::of("etcd").id]);
    let (here, there) = (env!("CARGO_MANIFEST_DIR").as_ref(), theirs.as_ref());
    let real = |path: &std::path::Path| std::fs::canonicalize(path).unwrap_or_default();
    assert_eq!(real(here), real(there), "the stack was started from another checkout");
}

/// A container of the stack.
#[derive(Debug, Clone)]
pub struct Container {
    pub service: String,
    id: String,
}

impl Container {
    /// `None`: there is none, running or not.
    pub fn find(service: &str) -> Option<Container> {
        let project = format!("label=com.docker.compose.project=geo-agent-{}", Suite::get().name);
        let of_service = format!("label=com.docker.compose.service={service}");
        let ids = docker(&["ps", "-aq", "--filter", &project, "--filter", &of_service]);
        let id = ids.lines().next()?.to_owned();
        Some(Container { service: service.to_owned(), id })
    }

    pub fn of(service: &str) -> Container {
        Container::find(service).unwrap_or_else(|| {
            let suite = Suite::get().name;
            panic!("no container of {service}: SUITE={suite} scripts/stack up")
        })
    }

    /// `docker VERB`: start, stop, kill, pause, unpause, rm.
    pub fn docker(&self, verb: &str) {
        match verb {
            "stop" => docker(&["stop", "-t", "2", &self.id]),
            "rm" => docker(&["rm", "-f", "-v", &self.id]),
            verb => docker(&[verb, &self.id]),
        };
    }

    /// `running`, `paused`, `exited`.
    pub fn state(&self) -> String {
        docker(&["inspect", "-f", "{{.State.Status}}", &self.id])
    }

    /// On the bridge; a container that does not run has none.
    pub fn ip(&self) -> Option<Ipv4Addr> {
        let path = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        docker(&["inspect", "-f", path, &self.id]).parse().ok()
    }

    /// The end of what its main process said, without what Patroni says every two seconds.
    pub fn log(&self, lines: usize) -> String {
        let said = run("docker", &["logs", "--tail", "1000", &self.id]).all();
        let said: Vec<_> = said.lines().filter(|l| !l.contains("no action.")).collect();
        said[said.len().saturating_sub(lines)..].join("\n")
    }

    pub fn exec(&self, command: &[&str]) -> Output {
        run("docker", &[&["exec", &self.id], command].concat())
    }

    pub fn exec_as_postgres(&self, command: &[&str]) -> Output {
        run("docker", &[&["exec", "-u", "postgres", &self.id], command].concat())
    }

    /// A shell script that has to work; its standard output.
    pub fn shell(&self, script: &str) -> String {
        let output = self.exec(&["bash", "-euc", script]);
        assert_eq!(output.status, 0, "{}: {script}: {}", self.service, output.all());
        output.out.trim_end().to_owned()
    }

    /// A shell script that waits inside the container for the word to go, so that no start of a
    /// process comes between the word and the deed.
    pub fn ready(&self, script: &str) -> Ready {
        let script = format!("echo ready; read -r _; {script}");
        let child = Command::new("docker")
            .args(["exec", "-i", &self.id, "bash", "-uc", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("docker starts");
        let mut line = [0; 6];
        let out = child.stdout.as_mut().expect("a pipe");
        std::io::Read::read_exact(out, &mut line).expect("the shell is there");
        Ready(child)
    }
}

/// See [`Container::ready`].
pub struct Ready(Child);

impl Ready {
    pub fn go(mut self) {
        self.0.stdin.take().expect("a pipe").write_all(b"\n").expect("the shell is still there");
        self.0.wait().expect("the shell ends");
    }
}

/// Looks until it is so, and fails with the last reason why it is not.
pub fn eventually<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(why) if started.elapsed() > Duration::from_secs(seconds) => {
                panic!("{what}: not within {seconds} s: {why}")
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// `condition`, or what there is instead.
pub fn is(condition: bool, instead: impl std::fmt::Debug) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("{instead:?}")) }
}
