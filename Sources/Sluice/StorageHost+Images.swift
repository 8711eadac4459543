import BlockStorage
import SystemPackage
import Templates

extension StorageHost {
    /// Makes a volume that holds the disk in an image file of this host.
    ///
    /// Throws `unsafeImage` for a QCOW2 image that refers to other files or is damaged, `busy` while another program
    /// writes the file, and `alreadyExists` when the name is taken.
    public func importVolume(
        _ volume: VolumeAddress, from file: FilePath, _ format: ImageFile.Format
    ) -> StorageOperation<VolumeDetails> {
        StorageOperation { report throws(StorageError) in
            try await self.importVolume(volume, from: file, format, report)
        }
    }

    private func importVolume(
        _ volume: VolumeAddress, from file: FilePath, _ format: ImageFile.Format,
        _ report: @escaping OperationProgress.Report
    ) async throws(StorageError) -> VolumeDetails {
        let pool = try await pool(volume.pool)
        let disk: any Volume
        do {
            disk = try await ImageFile.open(file, format)
        } catch {
            throw error.at(file.string)
        }
        try await closing(disk) { () async throws(StorageError) in
            let request = CreateRequest(size: disk.geometry.size, format: pool.formats.first ?? .raw)
            try await fill(volume, in: pool, request) { (made) async throws(StorageError) in
                try await disk.copy(
                    to: made, CopyOptions(destinationReadsZero: true, progress: { report(OperationProgress($0)) }))
            }
        }
        try await catalog.save(VolumeRecord(pool: volume.pool, name: volume.name, provisioning: .thin))
        return try await details(of: volume)
    }

    /// Writes what a volume, template or snapshot holds into a new image file of this host.
    ///
    /// Throws `alreadyExists` when there is something at `file`. See `ImageFile.write`.
    public func exportVolume(
        _ volume: VolumeAddress, to file: FilePath, _ format: VolumeFormat,
        compression: ImageFile.Compression? = nil
    ) -> StorageOperation<Void> {
        StorageOperation { report throws(StorageError) in
            let opened = try await self.openVolume(volume, mode: .readOnly)
            try await self.closing(opened) { () async throws(StorageError) in
                try await ImageFile.write(opened, to: file, format, compression: compression) {
                    report(OperationProgress($0))
                }
            }
        }
    }
}
