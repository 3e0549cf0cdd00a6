#!/bin/sh
# Make .venv with tox in it; what `make` does before anything else.
#
#     tools/bootstrap.sh <folder>
#
# PYTHON chooses the interpreter; otherwise the first of the usual names that
# is recent enough and can make virtual environments.
set -eu
folder=$1

usable() {
    "$1" -c 'import ensurepip, sys, venv
sys.exit(not (3, 11) <= sys.version_info[:2] <= '"$2"')' >/dev/null 2>&1
}

choose() {
    for newest in '(3, 13)' '(3, 99)'; do
        for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
            if usable "$name" "$newest"; then
                echo "$name"
                return
            fi
        done
    done
}

python=$(choose)
if [ -z "$python" ]; then
    tried=${PYTHON:-python3, python3.13, python3.12, python3.11}
    echo "No usable Python found (tried: $tried)." >&2
    echo "Needed is Python 3.11, 3.12 or 3.13 with its venv and ensurepip" >&2
    echo "modules; Debian and Ubuntu have them in the package python3-venv." >&2
    echo "To use one from elsewhere: make PYTHON=/path/to/python3" >&2
    exit 1
fi

echo "Setting up $folder with $("$python" --version) ..." >&2
rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    'tox>=4.28'
