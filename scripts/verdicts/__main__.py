from scripts.verdicts.text import main

main()
