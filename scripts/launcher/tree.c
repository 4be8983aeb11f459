/* Folder of the unpacked program: where it lies, whether it can be trusted, and its life.
 *
 *     <folder>/lock            held by the process that unpacks or removes
 *     <folder>/<key>.partial   is being unpacked
 *     <folder>/<key>           complete: renamed after the last byte was verified
 *     <folder>/<key>/.lock     shared by all processes of the tree (the tree's sitecustomize.py);
 *                              its time of change is the last use, to the hour
 *
 * <folder> is $LOCALRUN_UNPACK, else localrun/unpacked in the cache folder of the user. It and the
 * tree belong to this user or to root, and nobody else may write there. Trees of other versions
 * that were not used for a week, and that no process has locked, are removed after unpacking.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HINT UNPACK_VARIABLE "=FOLDER names another folder"
#define USE_INTERVAL_S 3600
#define MAX_UNUSED_S (7 * 24 * 3600)
#define SPARE_BYTES (16u << 20) /* folders and blocks that are not full */

static char *partial; /* removed at the exit of this process */

static char *base_folder(void) {
    const char *named = getenv(UNPACK_VARIABLE), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (named != NULL && *named != '\0') {
        char *here = *named == '/' ? strdup("/") : getcwd(NULL, 0);
        return joined(here == NULL ? "" : here, named);
    }
    if (cache != NULL && *cache == '/')
        return joined(cache, NAME "/unpacked");
    if (home == NULL || *home != '/') {
        struct passwd *user = getpwuid(geteuid());
        home = user == NULL ? NULL : user->pw_dir;
    }
    if (home == NULL || *home != '/')
        fail(FAILED, HINT, "there is no home folder to unpack into");
    return joined(home, ".cache/" NAME "/unpacked");
}

char *tree_path(const struct program *program) {
    char *base = base_folder(), *resolved = realpath(base, NULL);
    return joined(resolved == NULL ? base : resolved, program->key);
}

static void require_trust(const char *path) {
    struct stat status;
    if (lstat(path, &status) != 0)
        fail(NO_STORAGE, HINT, "cannot use %s: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        fail(FAILED, HINT, "%s is not a folder", path);
    if (status.st_uid != geteuid() && status.st_uid != 0)
        fail(FAILED, HINT, "%s belongs to another user", path);
    if (status.st_mode & 022 && !(status.st_mode & S_ISVTX))
        fail(FAILED, HINT, "other users may write to %s", path);
}

static void make_folders(char *path) {
    for (char *slash = path + 1; slash != NULL; slash = strchr(slash + 1, '/')) {
        if ((slash = strchr(slash, '/')) == NULL)
            break;
        *slash = '\0';
        mkdir(path, 0700); /* the last one reports what is wrong */
        *slash = '/';
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        fail(NO_STORAGE, HINT, "cannot unpack into %s: %s", path, strerror(errno));
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where) {
    (void)status, (void)kind, (void)where;
    remove(path);
    return 0;
}

static void remove_tree(const char *path) {
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_partial(void) {
    if (partial != NULL)
        remove_tree(partial);
}

/* Lock the tree for the life of this process; return false if it does not exist. */
static bool has_locked(const char *tree) {
    struct stat status, at_path;
    char *path = joined(tree, ".lock");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return false;
    if (fd < 0 || fstat(fd, &status) != 0)
        fail(NO_STORAGE, HINT, "cannot read %s: %s", path, strerror(errno));
    flock(fd, LOCK_SH); /* a file system without locks loses only the removal of old trees */
    bool exists = stat(path, &at_path) == 0 && at_path.st_ino == status.st_ino;
    if (!exists)
        close(fd);
    else if (time(NULL) - status.st_mtime > USE_INTERVAL_S)
        futimens(fd, NULL); /* fails if the tree is root's, or read-only */
    free(path);
    return exists;
}

static bool is_unused(const char *tree) {
    struct stat status;
    char *path = joined(tree, ".lock");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool is_locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &status) == 0;
    free(path);
    return is_locked && time(NULL) - status.st_mtime > MAX_UNUSED_S;
}

/* Remove what killed processes have left, and trees of other versions; needs the folder's lock. */
static void remove_old(const char *base, const char *key) {
    DIR *folder = opendir(base);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char *path = joined(base, entry->d_name);
        bool is_tree = strspn(entry->d_name, "0123456789abcdef") == KEY_CHARS;
        if (is_tree && strcmp(entry->d_name + KEY_CHARS, ".partial") == 0) {
            remove_tree(path);
        } else if (is_tree && strlen(entry->d_name) == KEY_CHARS && strcmp(entry->d_name, key) != 0 &&
                   is_unused(path)) {
            char *removed = malloc(strlen(path) + sizeof ".partial");
            if (removed != NULL && rename(path, strcat(strcpy(removed, path), ".partial")) == 0)
                remove_tree(removed);
            free(removed);
        }
        free(path);
    }
    if (folder != NULL)
        closedir(folder);
}

static void require_space(const struct program *program, const char *base) {
    struct statvfs status;
    uint64_t needed = program->unpacked_bytes + SPARE_BYTES;
    if (statvfs(base, &status) == 0 && (uint64_t)status.f_bavail * status.f_frsize < needed)
        fail(NO_STORAGE, HINT, "%s has %llu MB of free space; unpacking needs %llu MB", base,
             (unsigned long long)status.f_bavail * status.f_frsize / 1000000,
             (unsigned long long)needed / 1000000);
}

/* Return what the program writes first, with stderr if it fails; both are short. */
static char *first_line(char *const command[], bool *has_ended_well) {
    static char line[256];
    int ends[2], status = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        fail(FAILED, NULL, "cannot start Python: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execv(command[0], command);
        dprintf(1, "%s: %s", command[0], strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    size_t size = 0;
    ssize_t part;
    while (size < sizeof line - 1 && (part = read(ends[0], line + size, sizeof line - 1 - size)) > 0)
        size += (size_t)part;
    close(ends[0]);
    line[size] = '\0';
    line[strcspn(line, "\n")] = '\0';
    *has_ended_well = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    return line;
}

/* End with the reason if this machine cannot run the tree's Python. */
static void require_machine(const struct program *program, const char *tree) {
    bool runs;
    int major = 0, minor = 0, needed_major = 0, needed_minor = 0;
    char *python = joined(tree, program->python);
    char *code = "import os; print(os.confstr('CS_GNU_LIBC_VERSION'))";
    char *line = first_line((char *[]){python, "-I", "-S", "-c", code, NULL}, &runs);
    if (!runs)
        fail(FAILED, "programs must be allowed in the folder: " HINT,
             NAME " needs glibc %s or later, and does not start here: %s", program->glibc, line);
    sscanf(program->glibc, "%d.%d", &needed_major, &needed_minor);
    if (sscanf(line, "glibc %d.%d", &major, &minor) != 2 || major < needed_major ||
        (major == needed_major && minor < needed_minor))
        fail(FAILED, NULL, "the C library of this machine is %s; " NAME " needs glibc %s or later",
             line, program->glibc);
    free(python);
}

static void unpack_once(const struct program *program, const char *tree) {
    char *base = strndup(tree, strlen(tree) - KEY_CHARS - 1), *lock = joined(base, "lock");
    make_folders(base);
    require_trust(base);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        fail(NO_STORAGE, HINT, "cannot unpack into %s: %s", base, strerror(errno));
    while (flock(fd, LOCK_EX) != 0 && errno == EINTR)
        ;
    if (!has_locked(tree)) { /* else another process has unpacked it meanwhile */
        remove_old(base, program->key);
        require_space(program, base);
        if (isatty(2))
            dprintf(2, "unpacking " NAME " %s, once ...\n", program->version);
        partial = malloc(strlen(tree) + sizeof ".partial");
        if (partial == NULL || mkdir(strcat(strcpy(partial, tree), ".partial"), 0700) != 0)
            fail(NO_STORAGE, HINT, "cannot unpack into %s: %s", base, strerror(errno));
        atexit(remove_partial);
        unpack(program, partial);
        require_machine(program, partial);
        if (rename(partial, tree) != 0)
            fail(NO_STORAGE, HINT, "cannot unpack into %s: %s", base, strerror(errno));
        partial = NULL;
    }
    close(fd);
    free(lock);
    free(base);
}

void provide_tree(const struct program *program, const char *tree) {
    if (!has_locked(tree)) {
        unpack_once(program, tree);
        if (!has_locked(tree))
            fail(NO_STORAGE, HINT, "%s was removed while it was unpacked", tree);
    }
    require_trust(tree);
}
