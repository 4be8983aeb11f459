"""Scripts that make a shell complete the commands of this program with the Tab key.

Each gives the line before the cursor to this program, by the variables that typer reads for fish,
and gets a line for each candidate: the value, a tab, what it means. typer's own scripts break at
the colon in the name of a model (bash), evaluate the answer as code (zsh), run the program twice
(fish), and change what the Tab key does elsewhere (PowerShell).
"""

from __future__ import annotations

ASK = "_LOCALRUN_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args"

BASH = f"""\
# readline splits words at colons: of the name of a model, it replaces what is after the last colon
_localrun_completion() {{
    local line="${{COMP_LINE:0:COMP_POINT}}" candidate
    local word="${{line##*[[:space:]]}}" head=""
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        head="${{word%"${{word##*:}}"}}"
    fi
    COMPREPLY=()
    while IFS= read -r candidate; do
        candidate="${{candidate%%$'\\t'*}}"
        [[ -n $candidate ]] && COMPREPLY+=("${{candidate#"$head"}}")
    done < <({ASK} _TYPER_COMPLETE_ARGS="$line" "$1" 2>/dev/null)
}}
complete -o default -F _localrun_completion localrun
"""
ZSH = f"""\
#compdef localrun
_localrun() {{
    local candidate
    local -a candidates
    for candidate in "${{(@f)$({ASK} \\
            _TYPER_COMPLETE_ARGS="${{(j: :)words[1,CURRENT]}}" "${{words[1]}}" 2>/dev/null)}}"; do
        [[ -n $candidate ]] || continue
        # `_describe` wants value:meaning, with a backslash before a colon of the value
        candidates+=("${{${{candidate%%$'\\t'*}}//:/\\\\:}}:${{candidate#*$'\\t'}}")
        [[ $candidate == *$'\\t'* ]] || candidates[-1]="${{candidate//:/\\\\:}}"
    done
    if (( $#candidates )); then
        _describe localrun candidates
    else
        _files
    fi
}}
if [[ $funcstack[1] == _localrun ]]; then
    _localrun "$@"
else
    compdef _localrun localrun
fi
"""
FISH = f"""\
function __localrun_complete
    set -g __localrun_candidates (env {ASK} \\
        _TYPER_COMPLETE_ARGS=(commandline -cp) localrun 2>/dev/null)
    test -n "$__localrun_candidates"
end
complete --command localrun --no-files --condition __localrun_complete \\
    --arguments '(printf "%s\\n" $__localrun_candidates)'
"""
POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName localrun -ScriptBlock {
    param($word, $commandAst, $cursorPosition)
    $line = $commandAst.ToString()
    $length = $cursorPosition - $commandAst.Extent.StartOffset
    if ($line.Length -gt $length) { $line = $line.Substring(0, $length) }
    if (-not $word) { $line = $line.TrimEnd() + " " }
    $Env:_LOCALRUN_COMPLETE = "complete_fish"
    $Env:_TYPER_COMPLETE_FISH_ACTION = "get-args"
    $Env:_TYPER_COMPLETE_ARGS = $line
    try {
        localrun 2>$null | Where-Object { $_ } | ForEach-Object {
            $value, $meaning = $_ -split "`t", 2
            if (-not $meaning) { $meaning = $value }
            [System.Management.Automation.CompletionResult]::new(
                $value, $value, "ParameterValue", $meaning)
        }
    } finally {
        Remove-Item Env:_LOCALRUN_COMPLETE, Env:_TYPER_COMPLETE_FISH_ACTION, `
            Env:_TYPER_COMPLETE_ARGS
    }
}
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH, "powershell": POWERSHELL, "pwsh": POWERSHELL}
INSTALL_OPTIONS = ("--install-completion", "--show-completion")


def use_own_scripts() -> None:
    """Let ``--install-completion`` and ``--show-completion`` of typer use these scripts."""
    from typer import _completion_shared

    _completion_shared._completion_scripts.update(  # noqa: SLF001 - tested, and there is no other way
        {shell: script.replace("%", "%%") for shell, script in SCRIPTS.items()}
    )
