# Sourced by test/run.sh and examples/quickstart/run.sh: what they need, on demand.

# need_packages WHAT_FOR PACKAGE:PROBE...
# Installs every PACKAGE whose PROBE (a command, or an absolute path that may be
# a pattern) is missing. Not root: says what to install and fails.
need_packages() {
  what_for=$1
  shift
  missing=
  for need in "$@"; do
    is_present "${need#*:}" || missing="$missing ${need%%:*}"
  done
  [ -z "$missing" ] && return 0

  if [ "$(id -u)" -ne 0 ]; then
    echo "$what_for needs Debian packages that are not installed. Install them as root:" >&2
    echo "  apt-get install --no-install-recommends$missing" >&2
    return 1
  fi
  if ! command -v apt-get >/dev/null; then
    echo "$what_for needs these programs, and there is no apt-get to install them with:$missing" >&2
    return 1
  fi
  echo "Installing$missing"
  install_without_starting $missing || return 1
  for need in "$@"; do
    is_present "${need#*:}" && continue
    echo "Package ${need%%:*} is installed, yet ${need#*:} is still missing" >&2
    return 1
  done
}

is_present() {
  case $1 in
    /*) for path in $1; do [ -e "$path" ] && return 0; done; return 1 ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# Installs packages and starts no service that comes with them.
install_without_starting() (
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=y
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "$@"
)

# What it takes to install and run the pinned Node, as arguments of need_packages.
NODE_NEEDS='nodejs:node npm:npm ca-certificates:/etc/ssl/certs/ca-certificates.crt libatomic1:/usr/lib/*/libatomic.so.1'

# Installs what package-lock.json lists, unless that was done since it last changed.
need_node_modules() {
  if [ -L node_modules ]; then # npm would empty what the link leads to
    echo 'node_modules is a symbolic link: remove it, and run this again' >&2
    return 1
  fi
  installed=node_modules/.package-lock.json
  [ -e $installed ] && [ -z "$(find package-lock.json -newer $installed)" ] && return 0
  npm ci --loglevel=error # the system's Node is old, and npm says so for every package
}

# need_build [FOLDER...]
# Builds, unless that was done since the programs' sources, or those in FOLDERs, last changed.
need_build() {
  built=dist/programs/keelsond.cjs
  [ -e $built ] && [ -z "$(find "$@" api cli client config kernel lib plugins package-lock.json build.mjs \
    -path api/gen -prune -o -type f -newer $built -print | head -n1)" ] && return 0
  npm run --silent build
}
