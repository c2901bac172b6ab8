from scripts.tables.cells import main

main()
