extension ElementCluster {
    static let cloneMethods: [String: Method] = [
        "CloneVolume": { (cluster, parameters) throws(ElementError) in try cluster.cloneVolume(&parameters) },
        "GetAsyncResult": { (cluster, parameters) throws(ElementError) in try cluster.asyncResult(&parameters) },
        "CancelClone": { (cluster, parameters) throws(ElementError) in
            let id: Int = try parameters.required("cloneID")
            guard let job = cluster.state.jobs.values.first(where: { $0.cloneID == id && !$0.isComplete }) else {
                throw .noClone(id)
            }
            cluster.end(job, with: .cancelled(id), at: cluster.now)
            return [:]
        },
        "ListAsyncResults": { (cluster, parameters) throws(ElementError) in
            let types: [String]? = try parameters.optional("asyncResultTypes")
            let known = ["BulkVolume", "Clone", "DriveRemoval", "RtfiPendingNode"]
            if let unknown = types?.first(where: { !known.contains($0) }) {
                throw .unrecognized("asyncResultTypes", unknown)
            }
            guard types?.contains("Clone") ?? true else { return ["asyncHandles": []] }
            let jobs = cluster.state.jobs.values.sorted { $0.handle < $1.handle }
            return ["asyncHandles": .array(jobs.map(cluster.handleJSON))]
        },
    ]

    /// Finished jobs that nobody has asked about; the oldest are forgotten beyond that.
    private static let largestJobCount = 1000

    private mutating func cloneVolume(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        parameters.ignore("enableSnapMirrorReplication")
        let source = try activeVolume(parameters.required("volumeID"))
        let name: String = try parameters.required("name")
        let account = try account(parameters.optional("newAccountID") ?? source.accountID)
        var data = (id: source.dataID, size: source.totalSize)
        if let snapshotID: Int = try parameters.optional("snapshotID"), snapshotID != 0 {
            let snapshot = try snapshot(snapshotID, of: source.volumeID)
            data = (snapshot.dataID, snapshot.totalSize)
        }
        let newSize: Int? = try parameters.optional("newSize")
        let size = try newSize.map { newSize throws(ElementError) in try self.size(newSize, "newSize") } ?? data.size
        let running = state.jobs.values.count { $0.sourceID == source.volumeID && !$0.isComplete }
        guard running < limits.clonesPerVolume else { throw .tooManyClones(limits.clonesPerVolume) }
        let clone = try addVolume(
            name, of: account.accountID, size: size, access: parameters.choice("access") ?? source.access,
            enable512e: parameters.optional("enable512e") ?? source.enable512e, qos: source.qos,
            policyID: source.qosPolicyID, attributes: parameters.optional("attributes") ?? source.attributes,
            status: .creating)
        changes.append(.copy(from: data.id, to: clone.dataID, size: size))
        let job = CloneJob(
            handle: state.takeID(), cloneID: state.takeID(), sourceID: source.volumeID, volumeID: clone.volumeID,
            createTime: now, updateTime: now,
            dueTime: jobFault?.isEndless == true ? nil : time(after: configuration.cloneSeconds),
            failure: jobFault?.error, hasErrorStatus: jobFault?.hasErrorStatus)
        state.jobs[job.handle] = job
        forgetOldJobs()
        return [
            "asyncHandle": .integer(job.handle), "cloneID": .integer(job.cloneID), "curve": limits.curveJSON,
            "volume": json(clone), "volumeID": .integer(clone.volumeID),
        ]
    }

    /// Ends a clone. One that failed leaves no volume.
    mutating func end(_ job: CloneJob, with failure: ElementError?, at time: UInt64, removing: Bool = true) {
        state.jobs[job.handle]?.isComplete = true
        state.jobs[job.handle]?.updateTime = time
        state.jobs[job.handle]?.failure = failure
        if failure == nil {
            state.volumes[job.volumeID]?.status = .active
        } else if removing {
            purge(job.volumeID)
        }
    }

    private mutating func forgetOldJobs() {
        let finished = state.jobs.values.filter(\.isComplete).sorted { $0.handle < $1.handle }
        for job in finished.dropLast(Self.largestJobCount) { state.jobs[job.handle] = nil }
    }

    private mutating func asyncResult(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        let handle: Int = try parameters.required("asyncHandle")
        let keepsResult: Bool = try parameters.optional("keepResult") ?? false
        guard let job = state.jobs[handle] else { throw .noAsyncHandle(handle) }
        let isError = job.failure != nil && job.hasErrorStatus == true
        var answer: [String: JSONValue] = [
            "createTime": Self.timestamp(job.createTime), "lastUpdateTime": Self.timestamp(job.updateTime),
            "resultType": "Clone", "status": !job.isComplete ? "running" : isError ? "error" : "complete",
        ]
        guard job.isComplete else {
            answer["details"] = ["cloneID": .integer(job.cloneID), "volumeID": .integer(job.sourceID)]
            return .object(answer)
        }
        if let failure = job.failure, isError {
            answer["result"] = ["name": .string(failure.name), "message": .string(failure.message)]
        } else if let failure = job.failure {
            answer["error"] = failure.json
        } else {
            answer["result"] = [
                "cloneID": .integer(job.cloneID), "message": "Clone complete.", "volumeID": .integer(job.volumeID),
            ]
        }
        if !keepsResult { state.jobs[handle] = nil }
        return .object(answer)
    }

    private func handleJSON(_ job: CloneJob) -> JSONValue {
        [
            "asyncResultID": .integer(job.handle), "completed": .bool(job.isComplete),
            "createTime": Self.timestamp(job.createTime),
            "data": [
                "cloneID": .integer(job.cloneID),
                "message": job.isComplete ? .string(job.failure?.message ?? "Clone complete.") : "Clone running.",
                "volumeID": .integer(job.volumeID),
            ],
            "lastUpdateTime": Self.timestamp(job.updateTime), "resultType": "Clone",
            "success": .bool(job.isComplete && job.failure == nil),
        ]
    }
}
