# Sourced by the scripts beside it, from the repository's root folder; POSIX sh.
#
#   find_tools       sets PYTHON (3.11 or newer) and UV, and tells uv which package index pip is set up with
#   make_tools       makes .tools/env, which holds tox, unless it is there and up to date
#
# Nothing is installed outside .tools; deleting that folder undoes everything.

complain() {
    printf '%s\n' "$@" >&2
    exit 1
}

find_python() {
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        # A version manager's stand-in may be on PATH for a Python that it does not have: only running it tells.
        PYTHON=$("$candidate" -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)' \
            2>/dev/null) && return
    done
    if command -v uv >/dev/null 2>&1; then
        PYTHON=$(uv python find --no-python-downloads '>=3.11' 2>/dev/null) && return
    fi
    found=$(python3 --version 2>/dev/null) || found='no python3'
    complain "Python 3.11 or newer is needed, and this machine has $found." \
        'Debian, Ubuntu: apt install python3     macOS: brew install python     with uv: uv python install 3.13' \
        'Then run this again.'
}

find_uv() {
    pinned=$(sed -n 's/^uv==\([^ ;]*\).*/\1/p' constraints.txt)
    if command -v uv >/dev/null 2>&1; then
        UV=uv
    elif [ -x .tools/boot/bin/uv ]; then
        UV=.tools/boot/bin/uv
    elif "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null; then
        "$PYTHON" -m venv .tools/boot
        .tools/boot/bin/python -m pip --quiet --disable-pip-version-check install "uv==$pinned"
        UV=.tools/boot/bin/uv
    elif "$PYTHON" -m pip --version >/dev/null 2>&1; then
        # --target also works where the system's Python refuses to be installed into.
        PIP_REQUIRE_VIRTUALENV=0 PIP_USER=0 PIP_ROOT_USER_ACTION=ignore \
            "$PYTHON" -m pip --quiet --disable-pip-version-check install --target .tools/boot "uv==$pinned"
        UV=.tools/boot/bin/uv
    else
        complain "One of uv, venv or pip is needed, and $PYTHON has none of them." \
            'Debian, Ubuntu: apt install python3-venv     Fedora: dnf install python3-pip     others: install uv' \
            'Then run this again.'
    fi
}

# Prints what pip is set up with, from its files or from the environment, which wins.
pip_setting() {
    printf '%s\n' "$pip_settings" | sed -n "s/^global\.$1='\(.*\)'\$/\1/p; s/^:env:\.$1='\(.*\)'\$/\1/p" | tail -n 1
}

# uv does not read pip's configuration. What that says about the package index holds for uv too, unless uv has its own.
share_index() {
    asker=$PYTHON
    [ ! -x .tools/boot/bin/python ] || asker=.tools/boot/bin/python
    pip_settings=$("$asker" -m pip config list 2>/dev/null | sort -r) || return 0
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}${UV_CONFIG_FILE:-}" ] &&
        [ ! -e "${XDG_CONFIG_HOME:-${HOME:-}/.config}/uv/uv.toml" ] && [ ! -e /etc/uv/uv.toml ]; then
        index=$(pip_setting 'index.url')
        [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
    fi
    if [ -z "${SSL_CERT_FILE:-}" ]; then
        certificates=$(pip_setting cert)
        [ -z "$certificates" ] || export SSL_CERT_FILE="$certificates"
    fi
}

find_tools() {
    find_python
    find_uv
    share_index
}

make_tools() {
    find_tools
    wanted="$PYTHON $(cksum <constraints.txt)"
    if [ -x .tools/env/bin/tox ] && [ "$(cat .tools/made-for 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    rm -rf .tools/env .tools/made-for
    "$UV" venv --quiet --python "$PYTHON" .tools/env
    "$UV" pip install --quiet --python .tools/env/bin/python --constraint constraints.txt tox tox-uv
    printf '%s\n' "$wanted" >.tools/made-for
}
