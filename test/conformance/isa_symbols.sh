#!/bin/sh
# isa_symbols.sh NM OBJECT...: the kernels of an instruction set must define no weak symbol outside their own
# namespace. The linker keeps one copy of a weak symbol for the program, and that copy may hold instructions
# that the machine lacks.
nm=$1
shift
leaks=$("$nm" -C --defined-only "$@" | grep -E '^[0-9a-f]+ [WVu] ' | grep -vE 'evo::cpu::(baseline|v3|v4)::')
[ -z "$leaks" ] && exit 0
echo "expected no weak symbols outside evo::cpu::<isa>, got:"
echo "$leaks"
exit 1
