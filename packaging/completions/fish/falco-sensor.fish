# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_falco_sensor_global_optspecs
    string join \n h/help c= r= o/option= V/validate= dry-run L l= list= N config-schema rule-schema enable-source= disable-source= list-plugins plugin-info= list-events format= markdown i replay= record= M= p/print= P/pidfile= U/unbuffered v module= no-load bench= capture= seconds= json no-pushdown match-tables= support page-size version dump=
end

function __fish_falco_sensor_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_falco_sensor_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_falco_sensor_using_subcommand
    set -l cmd (__fish_falco_sensor_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s c -d 'Configuration file [default: /etc/falco-sensor/falco-sensor.yaml, else /etc/falco/falco.yaml]' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s r -d 'Rules file or folder, instead of the configured ones; repeatable' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s o -l option -d 'Set a configuration key: a.b=value, list[0]=value, list[]=value, map={...}; repeatable' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s V -l validate -d 'Check these rules files and folders and exit; repeatable' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s l -d 'Describe one rule and exit' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l list -d 'List the fields of conditions and outputs, of one source if given, and exit' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l enable-source -d 'Watch this event source only; repeatable' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l disable-source -d 'Leave out this event source; repeatable' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l plugin-info -d 'Describe one plugin and exit' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l format -d 'Form of the lists' -r -f -a "text\t''
markdown\t''
json\t''"
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l replay -d 'Evaluate this capture (.scap, plain or gzip) instead of watching this host' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l record -d 'Write every event to this capture (.scap; packed when its name ends in .gz) while watching this host' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s M -d 'Stop after this many seconds' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s p -l print -d 'Put this behind the output of every rule' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s P -l pidfile -d 'Write the process id to this file' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l module -d 'Load this kernel module file rather than the installed one' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l bench -d 'Measure what events cost, with the rules of -r or the configuration, and exit' -r -f -a "evaluate\t'The evaluator alone, on events whose fields are ready'
ring\t'Loops that drain rings in user memory which a producer fills: one, then one per CPU'
replay\t'Reading, state, evaluation and alerts of a capture'
live\t'What system calls take their callers without a sensor and with one (root; --module or the installed module)'"
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l capture -d 'With --bench evaluate (which has a load of its own) or replay: the capture to take events from' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l seconds -d 'With --bench: measure for about so long' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l match-tables -d 'How comparisons of one value are decided: by tables where they are cheaper (sized), always or never. For tests' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l dump -d 'Print every record of these system calls (comma-separated; default all) instead of evaluating rules' -r
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s h -l help -d 'Print this help'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l dry-run -d 'Load configuration and rules, then exit'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s L -d 'Describe all rules, macros and lists and exit (in JSON with json_output)'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s N -d 'With --list: names only'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l config-schema -d 'Print the JSON schema of the configuration and exit'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l rule-schema -d 'Print the JSON schema of rules files and exit'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l list-plugins -d 'List the plugins and exit'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l list-events -d 'List the event types and exit'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l markdown -d 'The same as --format markdown'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s i -d 'Print the system calls that are captured only with base_syscalls.all and exit'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s U -l unbuffered -d 'Write every alert at once, whatever buffered_outputs says'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -s v -d 'Tell more'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l no-load -d 'Use the module that is loaded already; never load or unload one'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l json -d 'With --bench: print the result as JSON'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l no-pushdown -d 'Have the module send every event that some rule listens to, also where no rule can match in its task'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l support -d 'Print what a bug report should have (versions, system, configuration, rules) as JSON and exit'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l page-size -d 'Print the page size and exit'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -l version -d 'Print versions (in JSON with json_output) and exit'
complete -c falco-sensor -n "__fish_falco_sensor_needs_command" -f -a "rules" -d 'Tools for those who write rules'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and not __fish_seen_subcommand_from test explain profile" -s h -l help -d 'Print this help'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and not __fish_seen_subcommand_from test explain profile" -f -a "test" -d 'Run tests written beside the rules: events or captures, and the alerts expected'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and not __fish_seen_subcommand_from test explain profile" -f -a "explain" -d 'Show a rule\'s condition taken apart and, for an event, why it matches or not'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and not __fish_seen_subcommand_from test explain profile" -f -a "profile" -d 'What each rule costs on the events of a capture'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from test" -l name -d 'Only tests of this name; `*` and `?` as in a shell' -r
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from test" -l format -d 'Form of the results' -r -f -a "text\t''
json\t''
junit\t''"
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from test" -l every-rule -d 'Fail, too, when a rule is raised by no test'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from test" -s h -l help -d 'Print this help'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from explain" -s r -d 'Rules files, in order; repeatable [default: those of the test]' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from explain" -l test -d 'Take the event from this file of tests ...' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from explain" -l name -d '... from the test of this name' -r
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from explain" -l replay -d 'Take the event from this capture' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from explain" -l event -d 'The event\'s number: its evt.num in a capture, its place from 1 in a test' -r
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from explain" -l json -d 'Write JSON'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print this help'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from profile" -s r -d 'Rules files, in order; repeatable' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from profile" -l replay -d 'The capture' -r -F
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from profile" -l json -d 'Write JSON'
complete -c falco-sensor -n "__fish_falco_sensor_using_subcommand rules; and __fish_seen_subcommand_from profile" -s h -l help -d 'Print this help'
