import BlockStorage
import IORuntime

extension TemplateImport {
    /// Imports an image that is read in any order: as its own file, as a volume that is fetched from a server as it is
    /// read, or from a scratch file.
    func importImage(
        _ input: any TemplateInput, _ compression: Compression?, _ pool: any StoragePool
    ) async throws(StorageError) -> ImportedTemplate {
        let image = try await image(in: input, compression)
        return try await finally({ try? await image.volume.close() }) { () async throws(StorageError) in
            let disk = try await GuestImage.open(image.volume, format, limits: limits)
            try GuestImage.checkSectors(size: disk.geometry.size)
            let record = record(input, sourceSize: image.sourceSize, virtualSize: disk.geometry.size)
            return try await finally({ try? await disk.close() }) { () async throws(StorageError) in
                let sums = image.adding.map { volume, algorithms in
                    Task { () async -> Result<[Checksum], StorageError> in
                        do throws(StorageError) {
                            return .success(try await volume.addUp(algorithms))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                let stopAdding: @Sendable () async -> Void = {
                    sums?.cancel()
                    _ = await sums?.value
                }
                return try await finally(stopAdding) { () async throws(StorageError) in
                    try await bring(disk, record, pool) { () async throws(StorageError) in
                        if let sums {
                            image.adding?.volume.didRead()
                            let result = await withTaskCancellationHandler {
                                await sums.value
                            } onCancel: {
                                sums.cancel()
                            }
                            try compare(try result.get(), input)
                        }
                        try await input.checkUnchanged()
                    }
                }
            }
        }
    }

    private struct Image {
        var volume: any ResizableVolume
        var sourceSize: UInt64
        /// The volume, where its checksums are still to be added up, while it is read.
        var adding: (volume: any SummingVolume, algorithms: [Checksum.Algorithm])?
    }

    /// The image that is in the source, unpacked, and compared with its checksums where that takes no second transfer.
    private func image(in input: any TemplateInput, _ compression: Compression?) async throws(StorageError) -> Image {
        let algorithms = checksums(input).map(\.algorithm)
        let stream = try SourceStream(input, name: source.name, adding: algorithms)
        if compression == nil, let volume = try await input.volume() {
            var image = Image(volume: volume, sourceSize: volume.geometry.size)
            if algorithms.isEmpty { return image }
            if let summing = volume as? any SummingVolume {
                image.adding = (summing, algorithms)
            } else {
                try await stream.readAll { report(.reading, $0, of: input.byteCount) }
                try compare(stream.checksums(), input)
            }
            return image
        }
        let scratch = try await FileVolume(try await ScratchFile.make(in: scratchDirectory), isReadOnly: false)
        do throws(StorageError) {
            try await unpack(stream, compression, to: scratch, of: input.byteCount)
            try compare(stream.checksums(), input)
        } catch {
            await Task { try? await scratch.close() }.value
            throw error
        }
        return Image(volume: scratch, sourceSize: stream.bytesRead)
    }

    private func unpack(
        _ stream: SourceStream, _ compression: Compression?, to volume: any ResizableVolume, of total: UInt64?
    ) async throws(StorageError) {
        let unpacker = try Unpacker(stream, compression, limits: limits)
        let writer = ImageWriter(volume)
        do throws(StorageError) {
            while let chunk = try await unpacker.next() {
                try await writer.write(chunk)
                report(.unpacking, stream.bytesRead, of: total)
            }
            try await writer.finish(size: unpacker.size)
        } catch {
            await writer.stop()
            throw error
        }
    }

    /// Copies the disk into the pool and makes it visible, or compares it with what is there. `check` is called when
    /// all of the disk was read.
    private func bring(
        _ disk: any Volume, _ record: TemplateRecord, _ pool: any StoragePool,
        check: () async throws(StorageError) -> Void
    ) async throws(StorageError) -> ImportedTemplate {
        if let existing = try await existingTemplate(in: pool) {
            return try await compare(disk, with: existing, record, in: pool, check: check)
        }
        do {
            let staged = try await pool.stageTemplate(name, size: disk.geometry.size)
            // Does nothing once the template is published.
            let template = try await finally({ await staged.discard() }) { () async throws(StorageError) in
                try await disk.copy(to: staged.volume, copyOptions(verifies: verifies, destinationReadsZero: true))
                try await check()
                return try await publish(staged, record)
            }
            return ImportedTemplate(template: template, record: record, wasThere: false)
        } catch  where error.code == .alreadyExists {
            // Another import was faster.
            guard let existing = try await existingTemplate(in: pool) else { throw error }
            return try await compare(disk, with: existing, record, in: pool, check: check)
        }
    }

    private func compare(
        _ disk: any Volume, with existing: VolumeDescription, _ record: TemplateRecord, in pool: any StoragePool,
        check: () async throws(StorageError) -> Void
    ) async throws(StorageError) -> ImportedTemplate {
        guard existing.virtualSize == record.virtualSize else { throw taken(by: "another template", in: pool) }
        let template = try await pool.openVolume(VolumeReference(name), mode: .readOnly)
        try await finally({ try? await template.close() }) { () async throws(StorageError) in
            do throws(StorageError) {
                try await disk.verifyCopy(in: template, copyOptions())
            } catch  where error.code == .corrupt {
                throw taken(by: "another template", in: pool)
            }
            try await check()
        }
        return ImportedTemplate(template: existing, record: record, wasThere: true)
    }

    private func copyOptions(verifies: Bool = false, destinationReadsZero: Bool = false) -> CopyOptions {
        var options = CopyOptions(destinationReadsZero: destinationReadsZero, verifies: verifies)
        if let progress { options.progress = { progress(ImportProgress($0)) } }
        return options
    }
}
