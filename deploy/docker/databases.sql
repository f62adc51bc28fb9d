-- One database, and one role that owns it, for each service that stores events. Runs once, on the empty data folder.
-- psql reads the passwords from the mounted secrets; a failing statement is not to show one in the server's log.
SET log_min_error_statement = panic;

\set password `cat /run/secrets/password_crm_contacts`
CREATE ROLE crm_contacts LOGIN PASSWORD :'password';
CREATE DATABASE crm_contacts OWNER crm_contacts;
REVOKE CONNECT ON DATABASE crm_contacts FROM PUBLIC;

\set password `cat /run/secrets/password_crm_sales`
CREATE ROLE crm_sales LOGIN PASSWORD :'password';
CREATE DATABASE crm_sales OWNER crm_sales;
REVOKE CONNECT ON DATABASE crm_sales FROM PUBLIC;

\set password `cat /run/secrets/password_crm_service`
CREATE ROLE crm_service LOGIN PASSWORD :'password';
CREATE DATABASE crm_service OWNER crm_service;
REVOKE CONNECT ON DATABASE crm_service FROM PUBLIC;

\set password `cat /run/secrets/password_crm_marketing`
CREATE ROLE crm_marketing LOGIN PASSWORD :'password';
CREATE DATABASE crm_marketing OWNER crm_marketing;
REVOKE CONNECT ON DATABASE crm_marketing FROM PUBLIC;
