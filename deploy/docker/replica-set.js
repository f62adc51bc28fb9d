// MongoDB's health check: makes the replica set on the first run, succeeds once this member is its primary.
// The member's name is the one that the services connect to, because the driver goes where the replica set tells it.
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] });
}
quit(db.hello().isWritablePrimary ? 0 : 1);
