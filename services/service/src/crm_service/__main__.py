"""`python -m crm_service api|worker|all`."""

from crm_service.main import compose

if __name__ == "__main__":
    compose().main()
