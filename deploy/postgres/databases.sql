-- Optuna's tables lie in the database that the image makes (POSTGRES_DB). MLflow has one of its own:
-- both keep the version of their tables in one called alembic_version.
CREATE DATABASE mlflow;
