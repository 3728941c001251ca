# Shared by the scripts in this folder (sourced, not run): messages, docker, compose, names.
# shellcheck shell=bash
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT
export PATH="$HOME/.cargo/bin:$PATH"

say() { printf '%s\n' "$*"; }
die() {
    printf 'geo-agent: %s\n' "$*" >&2
    exit 1
}

# A heading with the time since the script began.
heading() { printf '\n==> %d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

# progress LOG COMMAND...: its output goes to LOG; a dot every second; the end of LOG if it fails.
progress() {
    local log=$1 pid rc=0
    shift
    mkdir -p "$(dirname "$log")"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while sleep 1 && kill -0 "$pid" 2>/dev/null; do printf '.'; done
    wait "$pid" || rc=$?
    printf '\n'
    if [ "$rc" != 0 ]; then
        tail -n 30 "$log" >&2
        die "failed: $* (all of its output: $log)"
    fi
}

# As new as Cargo.toml asks for, with rustfmt and clippy.
rust_ok() {
    local wanted found
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    found=$(rustc --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] &&
        cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1
}
# Where the Rust of this user will not do: rustup's stable, for these scripts only.
choose_rust() { rust_ok || export RUSTUP_TOOLCHAIN=stable; }

# docker-compose 1.29 and the v2 plugin both do; the plugin is preferred where both are there.
compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose "$@"
    else
        docker-compose "$@"
    fi
}

# with_docker "$0" "$@": who was put into the group docker a moment ago has it only in new sessions; this starts one.
with_docker() {
    if [ -z "${GEO_AGENT_SG:-}" ] && [ "$(id -u)" != 0 ] && ! id -nG | grep -qw docker &&
        id -nG "$(id -un)" | grep -qw docker; then
        GEO_AGENT_SG=1 exec sg docker -c "$(printf '%q ' "$@")"
    fi
}
