#!/bin/bash
# Builds Python and OpenSSL in /work of the build root; the result is /opt/python of the root.
# Run by scripts/packing/build_root.py in the root, which is older than most machines in use:
# the programs need no newer C library than the root's.
set -eu -o pipefail
export LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
cd /work
jobs=$(nproc)
prefix=/opt/python
libraries=/usr/lib/$(gcc -print-multiarch)

if [ ! -e openssl/.installed ]; then
    mkdir -p openssl
    tar xf openssl_*.orig.tar.gz -C openssl --strip-components=1
    (
        cd openssl
        ./config --prefix=/opt/openssl --libdir=lib --openssldir=/etc/ssl \
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
    --with-ensurepip=no --disable-test-modules --with-pkg-config=yes $options \
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
    for file in "$prefix/lib/$version"/lib-dynload/*.so "$prefix"/lib/*.so.*; do
        ldd "$file" | awk -v from="$libraries" '$3 ~ "^(/usr)?/lib/" {print $3}'
    done | sort -u | while read -r library; do
        case ${library##*/} in
        libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libutil.so.*) ;;
        libcrypt.so.* | libnsl.so.* | ld-*) ;;
        *) [ -e "$prefix/lib/${library##*/}" ] || cp -L "$library" "$prefix/lib/" ;;
        esac
    done
done
# for machines without them only: those of the machine fit its other libraries, such as drivers
mkdir "$prefix/lib/fallback"
for name in libgcc_s.so.1 libstdc++.so.6; do
    cp -L "$(gcc -print-file-name="$name")" "$prefix/lib/fallback/"
done
for file in "$prefix"/lib/*.so.*; do
    chmod u+w "$file"
    strip --strip-unneeded "$file"
    patchelf --set-rpath '$ORIGIN' "$file"
done
for file in "$prefix/lib/$version"/lib-dynload/*.so; do
    patchelf --set-rpath '$ORIGIN/../..' "$file"
done
"$prefix/bin/python3" -I -c 'import ssl, ctypes, sqlite3, bz2, lzma, readline, zlib; print(ssl.OPENSSL_VERSION)'
touch "$prefix/.complete"
