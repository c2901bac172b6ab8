from scripts.figures.curves import main

main()
