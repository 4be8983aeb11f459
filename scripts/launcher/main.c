/* Launcher of the one-file program.
 *
 * Finds the unpacked tree of this file, unpacks it the first time (tree.c, unpack.c), and becomes
 * the tree's Python. If a server runs, its warm process runs the command instead (client.c,
 * handover.c), which takes 30 ms less. Linked statically, so that it starts on every Linux and can
 * say what is missing.
 *
 * LOCALRUN_BINARY names this file to the program, for a service or an upgrade: by the path that
 * was typed, which may be a link that outlives the version that it leads to.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#define THIS_FILE "/proc/self/exe"
#define BINARY_VARIABLE "LOCALRUN_BINARY"

/* Variables for another Python, which would keep this one from finding its files. */
static const char *const FOREIGN[] = {"PYTHONHOME",       "PYTHONPATH",     "PYTHONPLATLIBDIR",
                                      "PYTHONEXECUTABLE", "PYTHONOPTIMIZE", "PYTHONPYCACHEPREFIX",
                                      "PYTHONUSERBASE",   "__PYVENV_LAUNCHER__"};

char *joined(const char *folder, const char *name) {
    char *path = NULL;
    bool is_absolute = *name == '/';
    if (asprintf(&path, "%s%s%s", is_absolute ? "" : folder, is_absolute ? "" : "/", name) < 0)
        fail(FAILED, NULL, "no memory is left");
    return path;
}

_Noreturn void fail(int code, const char *hint, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    if (hint != NULL)
        fprintf(stderr, "hint: %s\n", hint);
    va_end(arguments);
    exit(code);
}

/* The absolute path with the same last name: of a relative one, only the folder is resolved. */
static char *absolute(const char *path) {
    const char *slash = strrchr(path, '/');
    if (*path == '/')
        return strdup(path);
    char *folder = strndup(slash == NULL ? "." : path, slash == NULL ? 1 : (size_t)(slash - path));
    char *real = folder == NULL ? NULL : realpath(folder, NULL);
    char *file = real == NULL ? NULL : joined(real, slash == NULL ? path : slash + 1);
    free(folder);
    free(real);
    return file;
}

/* The path that the system was asked to start, if it leads here and in other processes too. */
static char *typed_path(void) {
    struct stat typed, own;
    const char *name = (const char *)getauxval(AT_EXECFN);
    char *path = name == NULL ? NULL : absolute(name);
    if (path != NULL && strncmp(path, "/dev/", 5) != 0 && strncmp(path, "/proc/", 6) != 0 &&
        stat(path, &typed) == 0 && stat(THIS_FILE, &own) == 0 && typed.st_dev == own.st_dev &&
        typed.st_ino == own.st_ino)
        return path;
    free(path);
    return NULL;
}

static void set_environment(void) {
    char *typed = typed_path(), *file = typed != NULL ? typed : realpath(THIS_FILE, NULL);
    for (size_t i = 0; i < sizeof FOREIGN / sizeof *FOREIGN; i++)
        unsetenv(FOREIGN[i]);
    if (file == NULL || setenv(BINARY_VARIABLE, file, 1) != 0)
        fail(FAILED, NULL, "cannot find this file: %s", strerror(errno));
}

static bool has_printed_version(const struct program *program, char **arguments) {
    if (arguments[1] == NULL || strcmp(arguments[1], "--version") != 0 || arguments[2] != NULL)
        return false;
    return dprintf(1, NAME " %s\n", program->version) > 0; /* else Python reports it */
}

static _Noreturn void become_python(const struct program *program, const char *tree, int count,
                                    char **arguments) {
    char **command = calloc((size_t)count + 3, sizeof *command);
    if (command == NULL)
        fail(FAILED, NULL, "no memory is left");
    command[0] = joined(tree, program->python);
    command[1] = "-P"; /* no modules of the folder of the script */
    command[2] = joined(tree, program->script);
    for (int i = 1; i < count; i++)
        command[i + 2] = arguments[i];
    execv(command[0], command);
    fail(FAILED, UNPACK_VARIABLE "=FOLDER names another folder", "cannot start %s: %s", command[0],
         strerror(errno));
}

int main(int count, char **arguments) {
    struct program program;
    read_program(&program);
    if (count > 0 && has_printed_version(&program, arguments))
        return 0;
    set_environment();
    char *tree = tree_path(&program);
    int code = count > 0 ? run_warm(&program, tree, arguments) : NOT_RUN;
    if (code != NOT_RUN)
        return code;
    provide_tree(&program, tree);
    char *resolved = realpath(tree, NULL);
    become_python(&program, resolved == NULL ? tree : resolved, count, arguments);
}
