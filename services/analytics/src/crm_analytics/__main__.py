"""`python -m crm_analytics api|worker|all|stream`."""

from crm_analytics.main import main

if __name__ == "__main__":
    main()
