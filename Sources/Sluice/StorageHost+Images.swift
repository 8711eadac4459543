import BlockStorage
import SystemPackage
import Templates

extension StorageHost {
    /// Makes a volume that holds the disk in an image file of this host.
    ///
    /// Throws `unsafeImage` for a QCOW2 image that refers to other files or is damaged, `busy` while another program
    /// writes the file, and `alreadyExists` when the name is taken by a volume that holds anything else.
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
        try VolumeName.check(volume.name)
        let disk: any Volume
        do {
            disk = try await ImageFile.open(file, format)
        } catch {
            throw error.at(file.string)
        }
        try await closing(disk) { () async throws(StorageError) in
            try await withVolumes("import volume", exclusive: [volume]) { () async throws(StorageError) in
                let request = try await createRequest(size: disk.geometry.size, format: nil, qos: nil, in: volume.pool)
                try await fill(volume, request, from: disk, CopyOptions(report))
            }
        }
        return try await detailsWhenDone(of: volume)
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
            try await closing(opened) { () async throws(StorageError) in
                try await ImageFile.write(opened, to: file, format, compression: compression) {
                    report(OperationProgress($0))
                }
            }
        }
    }
}
