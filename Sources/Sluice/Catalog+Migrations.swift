import GRDB

extension Catalog {
    /// The schema, one step a release. A step that has been released never changes.
    static let migrator: DatabaseMigrator = {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { database in
            try database.create(table: "pool") { table in
                table.primaryKey("name", .text)
                table.column("url", .text).notNull()
                table.column("tags", .text).notNull()
                table.column("capacityBytes", .integer)
                table.column("capacityIOPS", .integer)
                table.column("secret", .text)
                table.column("identity", .text)
            }
            try database.create(table: "volume") { table in
                table.column("pool", .text).notNull().references("pool", onDelete: .cascade, onUpdate: .cascade)
                table.column("name", .text).notNull()
                table.column("provisioning", .text).notNull()
                table.column("minIOPS", .integer)
                table.column("maxIOPS", .integer)
                table.column("burstIOPS", .integer)
                table.column("tags", .text).notNull()
                // Set for a volume that is allocated but not made yet.
                table.column("lazySize", .integer)
                table.column("lazyFormat", .text)
                table.primaryKey(["pool", "name"])
            }
            try database.create(table: "template") { table in
                table.column("pool", .text).notNull().references("pool", onDelete: .cascade, onUpdate: .cascade)
                table.column("name", .text).notNull()
                table.column("checksum", .text)
                table.column("sourceSize", .integer).notNull()
                table.column("virtualSize", .integer).notNull()
                table.primaryKey(["pool", "name"])
            }
            try database.create(table: "intent") { table in
                table.autoIncrementedPrimaryKey("id")
                table.column("owner", .integer).notNull()
                table.column("content", .text).notNull()
            }
        }
        migrator.registerMigration("2") { database in
            // Where a volume was cloned from, when its pool cannot say any more.
            try database.alter(table: "volume") { table in table.add(column: "template", .text) }
            // Intents are typed now, and the locks of their volumes say whether they are under way.
            try database.drop(table: "intent")
            try database.create(table: "intent") { table in
                table.autoIncrementedPrimaryKey("id")
                table.column("processID", .integer).notNull()
                table.column("content", .text).notNull()
            }
        }
        migrator.registerMigration("template version") { database in
            try database.alter(table: "template") { table in
                // What the source said of its version, as JSON.
                table.add(column: "version", .text)
            }
        }
        migrator.registerMigration("burst credit") { database in
            try database.alter(table: "volume") { table in table.add(column: "maxBytesPerSecond", .integer) }
            try database.create(table: "burstCredit") { table in
                table.column("pool", .text).notNull().references("pool", onDelete: .cascade, onUpdate: .cascade)
                table.column("name", .text).notNull()
                // In hundredths of a 4 KiB operation.
                table.column("credit", .integer).notNull()
                table.primaryKey(["pool", "name"])
            }
        }
        return migrator
    }()
}
