#!/usr/bin/env bash
# Builds libcuda.so.1 of the kernels: build.sh INCLUDE OUT [KERNELS]. INCLUDE is
# the folder of cuda.h, OUT gets the library and what it is made of, KERNELS is
# the folder of the kernels' sources. OPTIMISE is the compiler's option for it.
set -euo pipefail
include=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
kernels=${3:-$here/../kern}
mkdir -p "$out"
flags="-std=c++17 ${OPTIMISE:--O2} -fPIC -fvisibility=hidden -Wall -Wextra -Wno-unknown-pragmas -Wno-unused-parameter -Wno-unused-function"
# Without FMA instructions each fmaf is a call of a library.
[ "$(uname -m)" != x86_64 ] || flags="$flags -march=x86-64-v3"
g++ $flags -include "$here/words.h" -I "$kernels" -c "$here/kernels.cpp" -o "$out/kernels.o"
for f in block fiber device memory module stream; do
	[ "$out/$f.o" -nt "$here/$f.cpp" ] && continue
	g++ $flags -isystem "$include" -c "$here/$f.cpp" -o "$out/$f.o"
done
g++ -shared -Wl,-z,defs -Wl,-soname,libcuda.so.1 -o "$out/libcuda.so.1" "$out"/*.o -pthread
