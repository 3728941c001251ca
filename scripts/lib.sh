# Shared by the scripts in this folder (sourced, not run): messages, docker, compose, names.
# shellcheck shell=bash
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LABEL=geo-agent.test        # on every image made here, so that clean-up can tell ours from the user's

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    warn "geo-agent: $*"
    exit 1
}

# A heading with the time since the script began: ==> 1:05 text
heading() { printf '\n==> %d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

# docker-compose 1.29 and the v2 plugin both do; the plugin is preferred where both are there.
compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose "$@"
    else
        docker-compose "$@"
    fi
}

# Somebody who was put into the group docker a moment ago has it only in new sessions: start one.
# Call as: with_docker "$0" "$@"
with_docker() {
    if ! docker info >/dev/null 2>&1 && [ -z "${GEO_AGENT_SG:-}" ] && id -nG "$(id -un)" | grep -qw docker; then
        GEO_AGENT_SG=1 exec sg docker -c "$(printf '%q ' "$@")"
    fi
}
