#!/bin/sh
# peer.sh NAME DIR [quick]: builds another library's source and our program that times it, in a folder
# of its own, and runs it. DIR is only read. Prints "SET.OPERATION SECONDS" lines.
#
# hash-sigs and xmss-reference need the headers of OpenSSL; wolfssl needs the ./configure of a release
# (or ./autogen.sh run before); botan needs Python and a C++ compiler.
set -eu
name=$1
dir=$(cd "$2" && pwd)
mode=${3:-full}
here=$(cd "$(dirname "$0")/peers" && pwd)
cc=${CC:-cc}
flags="-O3 -march=native -w"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# sources WORD...: the .c files of DIR whose names are given and that exist there.
sources() {
    for file in "$@"; do
        [ ! -f "$dir/$file.c" ] || echo "$dir/$file.c"
    done
}

# OpenSSL, for sources that take their SHA-256 from there.
crypto=
if echo 'int main(void) { return 0; }' | $cc -x c - -lcrypto -o "$work/try" 2>/dev/null; then
    crypto=-lcrypto
fi

# What of Botan is built: the schemes, their C interface, and every SHA-2 and Keccak for this machine.
botan_modules=hss_lms,xmss,ffi,system_rng,sha2_32,sha2_32_x86,sha2_32_avx2,sha2_32_simd,shake,keccak_perm_bmi2

case $name in
hash-sigs)
    files=$(sources hss hss_alloc hss_aux hss_common hss_compute hss_derive hss_generate hss_keygen \
        hss_malloc hss_param hss_reserve hss_sign hss_sign_inc hss_thread_single hss_verify \
        hss_verify_inc hss_zeroize lm_common lm_ots_common lm_ots_sign lm_ots_verify lm_verify endian \
        hash sha256)
    # shellcheck disable=SC2086 # lists of words
    $cc $flags -I"$dir" -I"$here" "$here/hash-sigs.c" $files $crypto -o "$work/driver" >&2
    ;;
xmss-reference)
    files=$(sources params hash fips202 hash_address randombytes wots xmss xmss_core_fast \
        xmss_commons utils)
    # shellcheck disable=SC2086
    $cc $flags -I"$dir" -I"$here" "$here/xmss-reference.c" $files $crypto -o "$work/driver" >&2
    ;;
wolfssl)
    (cd "$work" && "$dir/configure" --quiet --disable-shared --enable-static --enable-lms \
        --enable-xmss --enable-intelasm --disable-examples --disable-crypttests \
        CFLAGS="-O3 -march=native" && make -s -j2) >&2
    # shellcheck disable=SC2086
    $cc $flags -I"$work" -I"$dir" -I"$here" "$here/wolfssl.c" "$work/src/.libs/libwolfssl.a" -lm \
        -lpthread -o "$work/driver" >&2
    ;;
botan)
    (cd "$dir" && python3 configure.py --quiet --with-build-dir="$work" --minimized-build \
        --enable-modules="$botan_modules" --disable-shared-library --build-targets=static \
        --without-documentation --extra-cxxflags="-O3 -march=native -w" &&
        make -s -j2 -f "$work/Makefile") >&2
    # shellcheck disable=SC2086
    $cc $flags -I"$work/build/include/public" -I"$here" "$here/botan.c" "$work/libbotan-3.a" \
        -lstdc++ -lm -lpthread -o "$work/driver" >&2
    ;;
*)
    echo "peer.sh: no driver for '$name': hash-sigs, xmss-reference, wolfssl and botan have one" >&2
    exit 2
    ;;
esac
"$work/driver" "$mode"
