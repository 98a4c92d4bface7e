#!/usr/bin/env bash
# Installs what building and testing Evo needs and this machine lacks. Asks nothing, may be run again, and
# leaves apt alone where everything is there. Debian 12 and 13, Ubuntu 24.04. The CUDA toolkit, which the
# CUDA backend needs, is not among the packages: it is used where it is found.
set -euo pipefail

packages=(
  g++ cmake ninja-build python3 ccache git
  libmlir-19-dev mlir-19-tools llvm-19-dev   # the compiler; llvm-19-dev brings FileCheck and lit
  zlib1g-dev libzstd-dev                     # what LLVM's libraries link
  nlohmann-json3-dev libboost-dev            # JSON; graph algorithms (headers)
  libopenblas-dev                            # matrix products of the CPU backend
  libopenmpi-dev openmpi-bin                 # several processes
  libgtest-dev coinor-cbc                    # tests; an integer program solver to hold the search against
)

if ! command -v dpkg-query >/dev/null; then
  echo "setup.sh: expected Debian or Ubuntu (dpkg), got another system; install by hand: ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  # dpkg knows removed packages too; only "install ok installed" is there.
  state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [ "$state" = "install ok installed" ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup.sh: everything is installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup.sh: expected root or sudo to install ${missing[*]}, got neither" >&2
    exit 1
  fi
  as_root=(sudo)
  [ -t 0 ] || as_root+=(-n) # nobody there to type a password
fi
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

echo "setup.sh: installing ${missing[*]}"
apt update
apt install --no-install-recommends "${missing[@]}"
echo "setup.sh: done"
