import BlockStorage
import Foundation
import SystemPackage
import Templates

extension StorageHost {
    /// Imports a template: checks, unpacks and inspects the source, and publishes a fresh copy of the disk in it.
    ///
    /// Once more with the same source succeeds, and takes no time where a checksum is given or a server vouches for the
    /// version. A template or volume of that name that is another one throws `alreadyExists`; see `TemplateImport` for
    /// the other errors. What became of a download's locations is in the result's `report`.
    public func importTemplate(
        _ template: VolumeAddress, from source: any TemplateSource, _ format: VolumeFormat, checksum: Checksum? = nil
    ) -> StorageOperation<ImportedTemplate> {
        StorageOperation { report throws(StorageError) in
            try await self.withVolumes("import template", exclusive: [template]) { () async throws(StorageError) in
                try await self.importTemplate(template, from: source, format, checksum: checksum, report)
            }
        }
    }

    /// The lock of the template is held.
    private func importTemplate(
        _ template: VolumeAddress, from source: any TemplateSource, _ format: VolumeFormat, checksum: Checksum?,
        _ report: @escaping OperationProgress.Report
    ) async throws(StorageError) -> ImportedTemplate {
        let pool = try await pool(template.pool)
        try await refuseLazyName(template, "import template")
        let recorded = try await catalog.template(template.name, in: template.pool)
        var work = TemplateImport(
            name: template.name, source: source, format: format, checksum: checksum,
            scratchDirectory: FilePath(ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"))
        work.recorded = recorded
        work.progress = { report(OperationProgress($0)) }
        return try await run(.importTemplate(template, nil)) { token throws(StorageError) in
            work.publish = { (staged, record) async throws(StorageError) in
                let row = TemplateRow(record, template)
                try await self.intents.advance(token, to: .importTemplate(template, row))
                return try await uncancelled { () async throws(StorageError) in
                    let published = try await staged.publish()
                    try await self.intents.end(token) { try Catalog.save(row, $0) }
                    return published
                }
            }
            let imported: ImportedTemplate
            do throws(StorageError) {
                imported = try await work.run(into: pool)
            } catch {
                throw error.at(source.name)
            }
            if imported.wasThere {
                // A checksum that was compared once is not forgotten by an import without one.
                var record = imported.record
                record.checksum = record.checksum ?? recorded?.checksum
                let row = TemplateRow(record, template)
                try await intents.end(token) { try Catalog.save(row, $0) }
            }
            return imported
        }
    }

    /// The pool's templates, sorted by name.
    public func listTemplates(in pool: String) async throws(StorageError) -> [VolumeSummary] {
        try await self.pool(pool).listTemplates().map { summary(of: $0, in: pool) }.sorted { $0.name < $1.name }
    }

    /// Deletes a template; one that is not there is deleted already. Throws `busy`, naming them, while clones exist.
    public func deleteTemplate(_ template: VolumeAddress) async throws(StorageError) {
        try await withVolumes("delete template", exclusive: [template]) { () async throws(StorageError) in
            try await refuseWhileServed(template, "delete template")
            guard try await catalog.volume(template.name, in: template.pool)?.lazySize == nil else {
                throw StorageError(
                    .invalidArgument, "delete template", at: "\(template)", why: "it is a volume, not made yet")
            }
            let pool = try await pool(template.pool)
            try await run(.delete(template)) { token throws(StorageError) in
                try await uncancelled { () async throws(StorageError) in
                    try await pool.deleteTemplate(template.name)
                    try await self.intents.end(token) { try Catalog.forget(template, $0) }
                }
            }
        }
    }

    /// Throws `alreadyExists` for the name of a volume that is recorded and not made yet: no pool knows of it.
    func refuseLazyName(_ volume: VolumeAddress, _ what: String) async throws(StorageError) {
        guard try await catalog.volume(volume.name, in: volume.pool)?.lazySize == nil else {
            throw StorageError(.alreadyExists, what, at: "\(volume)", why: "a lazy volume has that name")
        }
    }
}

extension StorageError {
    /// The error with its place, where it has none yet.
    func at(_ place: String) -> StorageError {
        self.place.isEmpty ? StorageError(code, what, at: place, why: why) : self
    }
}
