# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_falco_hub_global_optspecs
    string join \n c/config-file= o= v/version h/help
end

function __fish_falco_hub_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_falco_hub_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_falco_hub_using_subcommand
    set -l cmd (__fish_falco_hub_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c falco-hub -n "__fish_falco_hub_needs_command" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_needs_command" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_needs_command" -s v -l version -d 'Prints the version'
complete -c falco-hub -n "__fish_falco_hub_needs_command" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_needs_command" -f -a "run" -d 'Runs the hub; so it does without a command'
complete -c falco-hub -n "__fish_falco_hub_needs_command" -f -a "config" -d 'About the configuration'
complete -c falco-hub -n "__fish_falco_hub_needs_command" -f -a "outputs" -d 'About outputs'
complete -c falco-hub -n "__fish_falco_hub_needs_command" -f -a "inputs" -d 'About brokers that alerts are taken from'
complete -c falco-hub -n "__fish_falco_hub_needs_command" -f -a "dead-letters" -d 'About alerts that an output did not get'
complete -c falco-hub -n "__fish_falco_hub_needs_command" -f -a "users" -d 'About those who may use the page'
complete -c falco-hub -n "__fish_falco_hub_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand run" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand run" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand run" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and not __fish_seen_subcommand_from check keys help" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and not __fish_seen_subcommand_from check keys help" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and not __fish_seen_subcommand_from check keys help" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and not __fish_seen_subcommand_from check keys help" -f -a "check" -d 'Says what is wrong with the configuration; 0 when it can be run'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and not __fish_seen_subcommand_from check keys help" -f -a "keys" -d 'Prints every key, its environment variable, type, default and meaning'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and not __fish_seen_subcommand_from check keys help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and __fish_seen_subcommand_from check" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and __fish_seen_subcommand_from check" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and __fish_seen_subcommand_from keys" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and __fish_seen_subcommand_from keys" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and __fish_seen_subcommand_from keys" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Says what is wrong with the configuration; 0 when it can be run'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "keys" -d 'Prints every key, its environment variable, type, default and meaning'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and not __fish_seen_subcommand_from list describe test help" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and not __fish_seen_subcommand_from list describe test help" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and not __fish_seen_subcommand_from list describe test help" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and not __fish_seen_subcommand_from list describe test help" -f -a "list" -d 'Prints every kind of output'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and not __fish_seen_subcommand_from list describe test help" -f -a "describe" -d 'Prints the keys of a kind'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and not __fish_seen_subcommand_from list describe test help" -f -a "test" -d 'Sends a test alert to one configured output and says what it answered'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and not __fish_seen_subcommand_from list describe test help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from list" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from list" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from describe" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from describe" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from describe" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from test" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from test" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from help" -f -a "list" -d 'Prints every kind of output'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from help" -f -a "describe" -d 'Prints the keys of a kind'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from help" -f -a "test" -d 'Sends a test alert to one configured output and says what it answered'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand outputs; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and not __fish_seen_subcommand_from list describe help" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and not __fish_seen_subcommand_from list describe help" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and not __fish_seen_subcommand_from list describe help" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and not __fish_seen_subcommand_from list describe help" -f -a "list" -d 'Prints every kind of input'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and not __fish_seen_subcommand_from list describe help" -f -a "describe" -d 'Prints the keys of a kind'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and not __fish_seen_subcommand_from list describe help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and __fish_seen_subcommand_from list" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and __fish_seen_subcommand_from list" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and __fish_seen_subcommand_from describe" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and __fish_seen_subcommand_from describe" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and __fish_seen_subcommand_from describe" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and __fish_seen_subcommand_from help" -f -a "list" -d 'Prints every kind of input'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and __fish_seen_subcommand_from help" -f -a "describe" -d 'Prints the keys of a kind'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand inputs; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list retry help" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list retry help" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list retry help" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list retry help" -f -a "list" -d 'Prints what outputs did not get, and why'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list retry help" -f -a "retry" -d 'Tries all of an output again'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list retry help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "list" -d 'Prints what outputs did not get, and why'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "retry" -d 'Tries all of an output again'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and not __fish_seen_subcommand_from list set remove help" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and not __fish_seen_subcommand_from list set remove help" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and not __fish_seen_subcommand_from list set remove help" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and not __fish_seen_subcommand_from list set remove help" -f -a "list" -d 'Prints every user and role'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and not __fish_seen_subcommand_from list set remove help" -f -a "set" -d 'Makes a user, or gives one a new role and password. The password is read from standard input, one line'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and not __fish_seen_subcommand_from list set remove help" -f -a "remove" -d 'Removes a user'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and not __fish_seen_subcommand_from list set remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from list" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from list" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from set" -l role -d 'viewer: looks. operator: acknowledges, deletes and tests as well' -r -f -a "viewer\t''
operator\t''"
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from set" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from set" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from remove" -s c -l config-file -d 'Configuration: a file of Falcosidekick' -r -F
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from remove" -s o -d 'Sets a key of the configuration; wins over the environment and the file' -r
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from help" -f -a "list" -d 'Prints every user and role'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from help" -f -a "set" -d 'Makes a user, or gives one a new role and password. The password is read from standard input, one line'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Removes a user'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand users; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and not __fish_seen_subcommand_from run config outputs inputs dead-letters users help" -f -a "run" -d 'Runs the hub; so it does without a command'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and not __fish_seen_subcommand_from run config outputs inputs dead-letters users help" -f -a "config" -d 'About the configuration'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and not __fish_seen_subcommand_from run config outputs inputs dead-letters users help" -f -a "outputs" -d 'About outputs'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and not __fish_seen_subcommand_from run config outputs inputs dead-letters users help" -f -a "inputs" -d 'About brokers that alerts are taken from'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and not __fish_seen_subcommand_from run config outputs inputs dead-letters users help" -f -a "dead-letters" -d 'About alerts that an output did not get'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and not __fish_seen_subcommand_from run config outputs inputs dead-letters users help" -f -a "users" -d 'About those who may use the page'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and not __fish_seen_subcommand_from run config outputs inputs dead-letters users help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Says what is wrong with the configuration; 0 when it can be run'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "keys" -d 'Prints every key, its environment variable, type, default and meaning'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from outputs" -f -a "list" -d 'Prints every kind of output'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from outputs" -f -a "describe" -d 'Prints the keys of a kind'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from outputs" -f -a "test" -d 'Sends a test alert to one configured output and says what it answered'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from inputs" -f -a "list" -d 'Prints every kind of input'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from inputs" -f -a "describe" -d 'Prints the keys of a kind'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "list" -d 'Prints what outputs did not get, and why'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "retry" -d 'Tries all of an output again'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from users" -f -a "list" -d 'Prints every user and role'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from users" -f -a "set" -d 'Makes a user, or gives one a new role and password. The password is read from standard input, one line'
complete -c falco-hub -n "__fish_falco_hub_using_subcommand help; and __fish_seen_subcommand_from users" -f -a "remove" -d 'Removes a user'
