/* Life of the client while a worker runs its command, as localrun/warm/handover.py does it.
 *
 *     signal to the client      goes to the worker's process group
 *     Ctrl-Z                    stops the worker, then the client; both go on together
 *     the worker has ended      the client ends with its exit code, or by the same signal
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define REPLY_BYTES 5
#define KILLED 128 /* plus the number of the signal */

static const int CAUGHT[] = {SIGHUP,  SIGINT,   SIGQUIT, SIGTERM, SIGUSR1,
                             SIGUSR2, SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU};

struct terminal {
    bool has_modes;
    struct termios modes;
};

/* The signals to pass on: those that the command may not ignore, as after nohup. */
static sigset_t caught_signals(void) {
    struct sigaction action;
    sigset_t caught;
    sigemptyset(&caught);
    for (size_t i = 0; i < sizeof CAUGHT / sizeof *CAUGHT; i++)
        if (sigaction(CAUGHT[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&caught, CAUGHT[i]);
    return caught;
}

/* Whether the terminal belongs to another job, which may have set its modes. */
static bool is_elsewhere(void) {
    pid_t foreground = tcgetpgrp(0);
    return foreground >= 0 && foreground != getpgrp();
}

/* Stop the worker, then this process, as Ctrl-Z does; go on together.
 *
 * The system ignores the signal in a process group that no shell controls. The worker sends
 * SIGTTIN if it may not read the terminal, which may be true no more. */
static void stop(int number, pid_t worker) {
    sigset_t only;
    if (number == SIGTTIN && !is_elsewhere())
        return;
    sigemptyset(&only);
    sigaddset(&only, number);
    killpg(worker, SIGSTOP);
    kill(getpid(), number);
    sigprocmask(SIG_UNBLOCK, &only, NULL); /* stops here */
    sigprocmask(SIG_BLOCK, &only, NULL);
    killpg(worker, SIGCONT);
}

static void pass_on(int signals, pid_t worker) {
    struct signalfd_siginfo signal;
    if (read(signals, &signal, sizeof signal) != sizeof signal)
        return;
    int number = (int)signal.ssi_signo;
    if (number == SIGTSTP || number == SIGTTIN || number == SIGTTOU)
        stop(number, worker);
    else
        killpg(worker, number);
}

/* Pass signals on until there is an answer, or the connection has ended. */
static void attend(int connection, int signals, pid_t worker) {
    struct pollfd ready[] = {{connection, POLLIN, 0}, {signals, POLLIN, 0}};
    while (poll(ready, 2, -1) < 0 || ready[0].revents == 0)
        if (ready[1].revents != 0)
            pass_on(signals, worker);
}

/* End as the worker ended, by a signal; the terminal is as it was before. */
static int die(int number, const struct terminal *terminal) {
    sigset_t only;
    if (terminal->has_modes && !is_elsewhere())
        tcsetattr(0, TCSADRAIN, &terminal->modes);
    signal(number, SIG_DFL); /* SIGKILL is refused, and needs it not */
    kill(getpid(), number);
    sigemptyset(&only);
    sigaddset(&only, number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    return KILLED + number;
}

int run_worker(int connection, pid_t worker) {
    struct terminal terminal;
    unsigned char answer[REPLY_BYTES];
    sigset_t caught = caught_signals(), before;
    terminal.has_modes = tcgetattr(0, &terminal.modes) == 0;
    int signals = signalfd(-1, &caught, SFD_CLOEXEC);
    if (signals < 0)
        return NOT_RUN;
    sigprocmask(SIG_BLOCK, &caught, &before);
    ssize_t size = -1;
    if (send(connection, "G", 1, MSG_NOSIGNAL) == 1) {
        attend(connection, signals, worker);
        size = recv(connection, answer, REPLY_BYTES, 0);
    }
    close(signals);
    if (size < 0) { /* the worker has ended before it read that it may go */
        sigprocmask(SIG_SETMASK, &before, NULL);
        return NOT_RUN;
    }
    if (size < REPLY_BYTES) /* killed together with the warm process */
        return die(SIGKILL, &terminal);
    int number = (int)((uint32_t)answer[1] << 24 | (uint32_t)answer[2] << 16 |
                       (uint32_t)answer[3] << 8 | answer[4]);
    return answer[0] == 'E' ? number & 0xFF : die(answer[0] == 'S' ? number : -number, &terminal);
}
