#!/bin/bash
# Builds Python and OpenSSL in /work of the build root; the result is /opt/python of the root.
# Run by scripts/packing/interpreter.py in the root, which is older than most machines in use:
# the programs need no newer C library than the root's. TARGET=aarch64-linux-gnu builds for that
# machine, with its cross compiler and the same Python of this machine in /opt/build-python.
set -eu -o pipefail
export LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
cd /work
jobs=$(nproc)
prefix=/opt/python
native=$(gcc -print-multiarch)
target=${TARGET:-$native}
if [ "$target" = "$native" ]; then
    tools='' openssl='./config' crossing=''
else
    tools=$target-
    openssl="./Configure linux-${target%%-*} --cross-compile-prefix=$tools"
    crossing="--host=$target --build=$native --with-build-python=/opt/build-python/bin/python3
        ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no ac_cv_buggy_getaddrinfo=no"
    export PKG_CONFIG_LIBDIR=/usr/lib/$target/pkgconfig:/usr/share/pkgconfig
fi

if [ ! -e openssl/.installed ]; then
    mkdir -p openssl
    tar xf openssl_*.orig.tar.gz -C openssl --strip-components=1
    (
        cd openssl
        # shellcheck disable=SC2086 - several words
        $openssl --prefix=/opt/openssl --libdir=lib --openssldir=/etc/ssl \
            shared no-tests no-docs no-module no-legacy
        make -s -j"$jobs" build_libs
        make -s install_dev
        touch .installed
    )
fi

rm -rf python "$prefix"
mkdir -p python patches
tar xf python3.*.orig.tar.xz -C python --strip-components=1
tar xf python3.*.debian.tar.xz -C patches --strip-components=2 debian/patches
cd python
# Debian's *.patch are fixes of bugs and of vulnerabilities, *.diff are changes for Debian
grep -v '^#' ../patches/series | grep '\.patch$' | while read -r patch; do
    patch -s -p1 <"../patches/$patch"
done

# in the program itself: each file that the dynamic loader opens takes 0.1 ms of each start
cat >Modules/Setup.local <<'MODULES'
*static*
_asyncio _asynciomodule.c
_bisect _bisectmodule.c
_csv _csv.c
_datetime _datetimemodule.c
_heapq _heapqmodule.c
_json _json.c
_opcode _opcode.c
_pickle _pickle.c
_posixsubprocess _posixsubprocess.c
_queue _queuemodule.c
_random _randommodule.c
_socket socketmodule.c
_struct _struct.c
array arraymodule.c
binascii binascii.c
fcntl fcntlmodule.c
grp grpmodule.c
math mathmodule.c
mmap mmapmodule.c
resource resource.c
select selectmodule.c
termios termios.c
unicodedata unicodedata.c
MODULES

options=${PYTHON_OPTIONS:-}
# shellcheck disable=SC2086 - several options
./configure -q --prefix="$prefix" --with-openssl=/opt/openssl --with-readline=editline \
    --with-ensurepip=no --disable-test-modules --with-pkg-config=yes $options $crossing \
    OPT='-DNDEBUG -g0 -O3 -fwrapv -Wall -fno-semantic-interposition' \
    LDFLAGS='-Wl,--strip-all' LDFLAGS_NODIST='-Wl,-rpath,/opt/openssl/lib' \
    py_cv_module__tkinter=n/a py_cv_module__gdbm=n/a py_cv_module__dbm=n/a \
    py_cv_module__curses=n/a py_cv_module__curses_panel=n/a py_cv_module_nis=n/a
make -s -j"$jobs"
make -s install

version=$(ls "$prefix/lib" | grep '^python3\.[0-9]*$')
cp /opt/openssl/lib/lib*.so.* "$prefix/lib/"
rm -f "$prefix"/lib/libpython* "$prefix/lib/$version"/config-*/*.a
# the shared libraries that the modules need, except those of the C library
for pass in 1 2 3; do
    "${tools}readelf" -d "$prefix/lib/$version"/lib-dynload/*.so "$prefix"/lib/*.so.* |
        sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u | while read -r library; do
        case $library in
        libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libutil.so.*) ;;
        libcrypt.so.* | libnsl.so.* | ld-*) ;;
        *) [ -e "$prefix/lib/$library" ] ||
            cp -L "$(find "/usr/lib/$target" "/lib/$target" -name "$library" -print -quit)" \
                "$prefix/lib/" ;;
        esac
    done
done
# for machines without them only: those of the machine fit its other libraries, such as drivers
mkdir "$prefix/lib/fallback"
for name in libgcc_s.so.1 libstdc++.so.6; do
    cp -L "$("${tools}gcc" -print-file-name="$name")" "$prefix/lib/fallback/"
done
# the program needs zlib, which Pillow then finds loaded
patchelf --set-rpath '$ORIGIN/../lib' "$prefix/bin/python${version#python}"
for file in "$prefix"/lib/*.so.*; do
    chmod u+w "$file"
    "${tools}strip" --strip-unneeded "$file"
    patchelf --set-rpath '$ORIGIN' "$file"
done
for file in "$prefix/lib/$version"/lib-dynload/*.so; do
    patchelf --set-rpath '$ORIGIN/../..' "$file"
done
[ "$target" != "$native" ] ||
    "$prefix/bin/python3" -I -c 'import ssl, ctypes, sqlite3, bz2, lzma, readline, zlib; print(ssl.OPENSSL_VERSION)'
touch "$prefix/.complete"
