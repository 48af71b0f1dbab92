from echo_ws.cli import main

main(prog_name="echo-ws")
